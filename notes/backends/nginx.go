package backends

import (
	"cmp"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
)

// nginx has one worker, as its manual's reload replaces it: SIGHUP.
func (b *Backend) startNginx(o Options) error {
	behind, err := b.forwardTo()
	if err != nil {
		return err
	}
	root, err := b.writeFiles()
	if err != nil {
		return err
	}
	if err := b.claim(); err != nil {
		return err
	}
	listen, on := b.Addr+" http2", "" // until 1.25
	if nginxVersion() >= 1_025 {
		listen, on = b.Addr, "http2 on;"
	}
	config, err := b.fill("nginx.conf", nginxConf,
		"{dir}", b.dir, "{root}", root, "{listen}", listen, "{http2on}", on, "{behind}", behind,
		"{streams}", strconv.Itoa(cmp.Or(o.Streams, 128)), "{requests}", strconv.Itoa(cmp.Or(o.Requests, 1_000_000_000)))
	if err != nil {
		return err
	}
	p, err := Run(b.dir, b.Addr, "nginx", "-p", b.dir, "-c", config, "-e", "stderr")
	if err != nil {
		return err
	}
	b.onClose(p.Stop)
	b.restart = func() error { return p.Process.Signal(syscall.SIGHUP) }
	return nil
}

// nginxVersion is 1025 for 1.25.
func nginxVersion() int {
	text, _ := exec.Command("nginx", "-v").CombinedOutput()
	m := regexp.MustCompile(`nginx/(\d+)\.(\d+)`).FindSubmatch(text)
	if m == nil {
		return 0
	}
	major, _ := strconv.Atoi(string(m[1]))
	minor, _ := strconv.Atoi(string(m[2]))
	return major*1000 + minor
}

const nginxConf = `daemon off; worker_processes 1; pid {dir}/pid; error_log stderr;
events { worker_connections 4096; }
http {
	access_log off; default_type text/plain; client_max_body_size 8m;
	client_body_temp_path {dir}/1; proxy_temp_path {dir}/2; fastcgi_temp_path {dir}/3; uwsgi_temp_path {dir}/4; scgi_temp_path {dir}/5;
	keepalive_requests {requests}; http2_max_concurrent_streams {streams};
	proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off; proxy_buffering off;
	server {
		listen {listen} backlog=4096; {http2on}
		root {root};
		location = / { return 200 "Hello, World!\n"; }
		location ~ ^/(echo$|once/|sleep/|meet/) { proxy_pass http://{behind}; }
	}
}
`
