package main

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"socketup/notes/backends"
)

// A gateway that races. The first that takes part is what the others are compared with.
type gateway struct {
	name    string
	command func(w *workshop, dir, addr, backend string) ([]string, error)
	http1   bool // to the backend: for what HTTP/2 costs
}

var gateways = []gateway{
	{name: "part4", command: func(w *workshop, _, addr, backend string) ([]string, error) {
		return []string{w.part4, "serve", "-addr", addr, "-one-client", "-engine", "h2c://" + backend}, nil
	}},
	{name: "reverseproxy", command: func(w *workshop, _, addr, backend string) ([]string, error) {
		return []string{w.itself, "gateway", "reverseproxy", addr, backend}, nil
	}},
	{name: "haproxy", command: haproxy},
	{name: "nghttpx", command: nghttpx},
	{name: "httpd", command: httpd},
	{name: "part4-http1", http1: true, command: func(w *workshop, _, addr, backend string) ([]string, error) {
		return []string{w.part4, "serve", "-addr", addr, "-one-client", "-engine", "http://" + backend}, nil
	}},
}

// A workshop has the programs that are built for the race.
type workshop struct {
	dir, itself, part4, bench string

	loadTime time.Duration // CPU time of the load generator in this case
}

func newWorkshop() (*workshop, error) {
	dir, err := os.MkdirTemp("", "streams")
	if err != nil {
		return nil, err
	}
	w := &workshop{dir: dir, part4: filepath.Join(dir, "part4"), bench: filepath.Join(dir, "bench")}
	if w.itself, err = os.Executable(); err != nil {
		return nil, err
	}
	os.Chmod(dir, 0o755) // for servers that give up root's rights
	for _, build := range [][]string{
		{"-C", *root, "build", "-o", w.part4, "./part4-pooling"},
		{"-C", filepath.Join(*root, "notes"), "build", "-o", w.bench, "./bench"},
	} {
		if text, err := exec.Command("go", build...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s", text)
		}
	}
	return w, nil
}

func haproxy(w *workshop, dir, addr, backend string) ([]string, error) {
	file := filepath.Join(dir, "haproxy.cfg")
	return []string{"haproxy", "-db", "-f", file}, os.WriteFile(file, fmt.Appendf(nil, haproxyConf, cmp.Or(*streams, 100), addr, backend), 0o644)
}

const haproxyConf = `global
 nbthread 1
 maxconn 8000
 tune.h2.max-concurrent-streams %d
defaults
 mode http
 timeout client 30s
 timeout server 30s
 timeout connect 1s
 http-reuse always
frontend f
 bind %s
 option forwardfor
 default_backend b
backend b
 server s1 %s proto h2
`

func nghttpx(w *workshop, dir, addr, backend string) ([]string, error) {
	return []string{"nghttpx", "--conf=/dev/null", "-n1", "--single-process", "--add-x-forwarded-for", "--log-level=ERROR",
		"--backend=" + strings.Replace(backend, ":", ",", 1) + ";;proto=h2",
		"--frontend=" + strings.Replace(addr, ":", ",", 1) + ";no-tls"}, nil
}

// httpd has one process, and a thread for each client, which has its own connection to the
// backend: mod_proxy_http2 hands no requests over any more. The worker MPM is ahead of the
// event MPM at 32 clients and as fast at 256; with fewer threads than clients, both close
// kept connections.
func httpd(w *workshop, dir, addr, backend string) ([]string, error) {
	program, modules, err := backends.Httpd()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	os.Chmod(dir, 0o755)
	file := filepath.Join(dir, "httpd.conf")
	config := strings.NewReplacer("{dir}", dir, "{port}", port, "{addr}", addr, "{modules}", modules, "{backend}", backend, "{user}", backends.HttpdUser()).Replace(httpdConf)
	return []string{program, "-f", file, "-DFOREGROUND"}, os.WriteFile(file, []byte(config), 0o644)
}

const httpdConf = `ServerRoot {dir}
DefaultRuntimeDir {dir}
PidFile {dir}/pid
Mutex file:{dir}
ErrorLog /dev/stderr
LogLevel error
ServerName localhost
Listen {addr}
LoadModule mpm_worker_module {modules}/mod_mpm_worker.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule http2_module {modules}/mod_http2.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http2_module {modules}/mod_proxy_http2.so
{user}
StartServers 1
ServerLimit 1
ThreadLimit 512
ThreadsPerChild 512
MaxRequestWorkers 512
MaxConnectionsPerChild 0
KeepAlive on
KeepAliveTimeout 60
MaxKeepAliveRequests 0
ProxyPass / h2c://{backend}/ enablereuse=on
`
