package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A field is what all measurements need.
type field struct {
	dir          string // removed at the end
	part3, part4 string // programs
	itself       string // this program, which is the attacker too
	files        string // what part 3 serves below /files/
}

func prepare() (*field, error) {
	dir, err := os.MkdirTemp("", "shares")
	if err != nil {
		return nil, err
	}
	f := &field{dir: dir, files: filepath.Join(dir, "files")}
	if err := f.fill(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *field) close() { os.RemoveAll(f.dir) }

func (f *field) fill() (err error) {
	if f.itself, err = os.Executable(); err != nil {
		return err
	}
	os.Mkdir(f.files, 0o755)
	for name, size := range map[string]int{"32k": 32 << 10, "256k": 256 << 10, "4m": 4 << 20, "16m": 16 << 20} {
		if err := os.WriteFile(filepath.Join(f.files, name), bytes.Repeat([]byte("x"), size), 0o644); err != nil {
			return err
		}
	}
	from := *bin
	if from == "" {
		from = f.dir
		build := exec.Command("go", "build", "-o", f.dir+"/", "./part3-pipelining", "./part4-pooling")
		build.Dir, build.Stderr = *repo, os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build the parts: %w", err)
		}
	}
	if from, err = filepath.Abs(from); err != nil {
		return err
	}
	f.part3, f.part4 = filepath.Join(from, "part3-pipelining"), filepath.Join(from, "part4-pooling")
	for _, path := range []string{f.part3, f.part4} {
		if _, err := os.Stat(path); err != nil {
			return err
		}
	}
	return nil
}

// A program runs until stop.
type program struct {
	*exec.Cmd
	addr string
}

func (p *program) stop() {
	if p != nil {
		p.Process.Kill()
		p.Wait()
	}
}

// start starts a part, and waits until it says where it listens.
func start(path string, args ...string) (*program, error) {
	p := &program{Cmd: exec.Command(path, append([]string{"-addr", "127.0.0.1:0"}, args...)...)}
	dieTogether(p.Cmd)
	out, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, found := strings.CutPrefix(strings.TrimSpace(line), "listening on http://")
	if err != nil || !found {
		p.stop()
		return nil, fmt.Errorf("%s said %q: %v", path, line, err)
	}
	p.addr = addr
	return p, nil
}

func (f *field) startBackend() (*program, error) { return start(f.part3, "-root", f.files) }

// startGateway starts part 4 in front of backend and the attacker's own.
func (f *field) startGateway(mode, backend string, evil []string) (*program, error) {
	how := "-backend"
	if mode == "engine" {
		how = "-engine"
	}
	args := []string{how, "http://" + backend}
	for i, addr := range evil {
		args = append(args, how, fmt.Sprintf("/evil%d=http://%s", i+1, addr))
	}
	return start(f.part4, append(args, strings.Fields(*extra)...)...)
}

// startNginx starts nginx with one worker as the same proxy.
func (f *field) startNginx(backend string, evil []string) (*program, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	dir, err := os.MkdirTemp(f.dir, "nginx")
	if err != nil {
		return nil, err
	}
	paths := location("/", "back")
	upstreams := upstream("back", backend)
	for i, to := range evil {
		name := fmt.Sprintf("evil%d", i+1)
		upstreams += upstream(name, to)
		paths += location("/"+name+"/", name)
	}
	conf := fmt.Sprintf(nginxConf, dir, dir, dir, dir, dir, dir, upstreams, addr, paths)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		return nil, err
	}
	p := &program{Cmd: exec.Command("nginx", "-p", dir, "-c", file), addr: addr}
	dieTogether(p.Cmd)
	if err := p.Start(); err != nil {
		return nil, err
	}
	for range 200 {
		if c, err := net.Dial("tcp4", addr); err == nil {
			c.Close()
			return p, nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	p.stop()
	return nil, fmt.Errorf("nginx does not answer at %s", addr)
}

func upstream(name, addr string) string {
	return fmt.Sprintf("upstream %s { server %s; keepalive 32; }\n", name, addr)
}

func location(path, name string) string {
	return fmt.Sprintf("location %s { proxy_pass http://%s; }\n", path, name)
}

const nginxConf = `daemon off; master_process off; worker_processes 1; pid %s/pid; error_log /dev/null;
events { worker_connections 4096; }
http {
	access_log off; keepalive_requests 10000000; large_client_header_buffers 8 32k; client_max_body_size 8m;
	client_body_temp_path %s/1; proxy_temp_path %s/2; fastcgi_temp_path %s/3; uwsgi_temp_path %s/4; scgi_temp_path %s/5;
	proxy_http_version 1.1; proxy_set_header Connection ""; proxy_request_buffering off; proxy_buffer_size 32k; proxy_buffers 8 32k;
	proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
	%s
	server { listen %s backlog=4096; %s }
}
`
