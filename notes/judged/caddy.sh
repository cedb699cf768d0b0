# Caddy as a gateway from $ADDR to $BACKEND; all that is not for the address or for
# streaming is its default.
dir=$(mktemp -d)
cat > "$dir/conf" <<CONF
{
	admin off
	auto_https off
	storage file_system $dir
}
http://:${ADDR##*:} {
	bind ${ADDR%:*}
	reverse_proxy $BACKEND {
		flush_interval -1
		transport http {
			dial_timeout 1s
			compression off
		}
	}
}
CONF
exec caddy run --config "$dir/conf" --adapter caddyfile
