# HAProxy as a gateway from $ADDR to $BACKEND. It shares kept connections between
# clients (http-reuse always), as the others do; all else but the timeouts is its default.
dir=$(mktemp -d)
cat > "$dir/conf" <<CONF
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
	server s ${BACKEND#http://}
CONF
exec haproxy -db -f "$dir/conf"
