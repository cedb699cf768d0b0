# HAProxy as a gateway from $ADDR to $BACKEND. It shares kept connections between
# clients (http-reuse always), as the others do; all else but the timeouts is its default.
case $BACKEND in h2c://*) proto='proto h2';; esac
dir=$(mktemp -d)
cat > "$dir/conf" <<CONF
global
	nbthread 1
defaults
	mode http
	timeout client 30s
	timeout server 30s
	timeout connect 1s
	option forwardfor
frontend f
	bind $ADDR
	default_backend b
backend b
	http-reuse always
	server s ${BACKEND#*://} $proto
CONF
exec haproxy -db -f "$dir/conf"
