# nginx as a gateway from $ADDR to $BACKEND, with the settings that its manual gives
# for streaming and kept connections; all else is its default.
dir=$(mktemp -d)
cat > "$dir/conf" <<CONF
daemon off; worker_processes 1; pid $dir/pid; error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path $dir/b; proxy_temp_path $dir/p; fastcgi_temp_path $dir/f; uwsgi_temp_path $dir/u; scgi_temp_path $dir/s;
	upstream backend { server ${BACKEND#http://}; keepalive 8; }
	server {
		listen $ADDR;
		location / {
			proxy_pass http://backend;
			proxy_http_version 1.1; proxy_set_header Connection "";
			proxy_set_header Host \$host;
			proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
			proxy_buffering off; proxy_request_buffering off;
			proxy_connect_timeout 1s;
		}
	}
}
CONF
exec nginx -p "$dir" -c "$dir/conf"
