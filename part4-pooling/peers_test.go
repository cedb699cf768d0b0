package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/internal/testutil"
)

// Widely used servers, as backends.

const large = 3 << 20

// A peer starts a server that responds to /large with large bytes, and to /
// with "small\n".
type peer struct {
	name  string
	start func(t *testing.T) (addr string)
}

var peers = []peer{
	{"net/http", func(t *testing.T) string {
		s := httptest.NewServer(http.FileServer(http.Dir(site(t))))
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}},
	{"nginx", func(t *testing.T) string {
		dir, addr := t.TempDir(), testutil.FreeAddr(t)
		config := fmt.Sprintf("daemon off; user root; worker_processes 1; error_log stderr; pid %s/pid; events {} http { access_log off; client_body_temp_path %s/b; proxy_temp_path %s/p; fastcgi_temp_path %s/f; uwsgi_temp_path %s/u; scgi_temp_path %s/s;"+
			" server { listen %s; root %s; index index.html; } }", dir, dir, dir, dir, dir, dir, addr, site(t))
		if os.Geteuid() != 0 {
			config = strings.Replace(config, "user root; ", "", 1)
		}
		require.NoError(t, os.WriteFile(dir+"/conf", []byte(config), 0o600))
		return startPeer(t, addr, "nginx", "-p", dir, "-c", dir+"/conf")
	}},
	{"HAProxy", func(t *testing.T) string {
		dir, addr := t.TempDir(), testutil.FreeAddr(t)
		config := fmt.Sprintf("defaults\n mode http\n timeout client 10s\n timeout server 10s\n timeout connect 1s\nfrontend f\n bind %s\n"+
			" http-request return status 200 content-type text/plain file %s/large if { path /large }\n"+
			" http-request return status 200 content-type text/plain string small\\n\n", addr, site(t))
		require.NoError(t, os.WriteFile(dir+"/conf", []byte(config), 0o600))
		return startPeer(t, addr, "haproxy", "-db", "-f", dir+"/conf")
	}},
	{"node", func(t *testing.T) string {
		addr := testutil.FreeAddr(t)
		host, port, _ := net.SplitHostPort(addr)
		return startPeer(t, addr, "node", "-e", fmt.Sprintf("require('http').createServer((q,s)=>{ if (q.url=='/large') { s.end(Buffer.alloc(%d,'x')) }"+
			" else { s.write('sma'); s.end('ll\\n') } }).listen(%s,'%s')", large, port, host))
	}},
}

// site creates a directory with the files that peers serve.
func site(t *testing.T) string {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.WriteFile(dir+"/index.html", []byte("small\n"), 0o644))
	size := large
	if strings.Contains(t.Name(), "HAProxy") {
		size = 8 << 10 // HAProxy's "return" sends a file from one buffer (tune.bufsize)
	}
	require.NoError(t, os.WriteFile(dir+"/large", bytes.Repeat([]byte("x"), size), 0o644))
	return dir
}

// startPeer starts a program and waits until it listens on addr; it skips the
// test when the program is not installed.
func startPeer(t *testing.T, addr, name string, args ...string) string {
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	cmd := exec.Command(name, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	end := killWithTest(t, cmd) // with its children: nginx has some
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { end(); waitExit(t, cmd) })
	eventually(t, name+" listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return addr
}

func TestRealServersWorkAsBackends(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	for _, peer := range peers {
		t.Run(peer.name, func(t *testing.T) {
			t.Parallel()
			addr := peer.start(t)
			r, g := startGateway(t, addr)
			client := &http.Client{Timeout: maxWait}
			for range 20 {
				small, err := client.Get("http://" + r.addr + "/")
				require.NoError(t, err)
				body, err := io.ReadAll(small.Body)
				require.NoError(t, err)
				assert.Equal(t, "small\n", string(body))
				answer, err := client.Get("http://" + r.addr + "/large")
				require.NoError(t, err)
				n, err := io.Copy(io.Discard, answer.Body)
				require.NoError(t, err)
				assert.GreaterOrEqual(t, n, int64(8<<10))
				answer, err = client.Head("http://" + r.addr + "/large")
				require.NoError(t, err)
				assert.Equal(t, 200, answer.StatusCode)
			}
			b := g.Pool.Stats().Backend(addr)
			assert.EqualValues(t, 60, b.Dialled+b.Reused)
			assert.LessOrEqual(t, b.Dialled, uint64(3), "a connection is reused: %+v", b)
		})
	}
}

// File servers respond before they read a body, and each treats the unread body
// differently. None of that may cost the client its response.
func TestRealServersMayRespondBeforeReadingTheBody(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	for _, peer := range peers {
		t.Run(peer.name, func(t *testing.T) {
			t.Parallel()
			addr := peer.start(t)
			r, g := startGateway(t, addr)
			client := &http.Client{Timeout: maxWait, Transport: &http.Transport{ExpectContinueTimeout: time.Second}}
			body := bytes.Repeat([]byte("b"), 300_000)
			for name, request := range map[string]func() *http.Request{
				"short":   func() *http.Request { return uploadRequest(t, r.addr, bytes.NewReader(body[:10])) },
				"long":    func() *http.Request { return uploadRequest(t, r.addr, bytes.NewReader(body)) },
				"chunked": func() *http.Request { return uploadRequest(t, r.addr, io.MultiReader(bytes.NewReader(body))) },
				"expected": func() *http.Request {
					q := uploadRequest(t, r.addr, bytes.NewReader(body))
					q.Header.Set("Expect", "100-continue")
					return q
				},
			} {
				for range 5 {
					answer, err := client.Do(request())

					require.NoError(t, err, name)
					_, err = io.Copy(io.Discard, answer.Body)
					assert.NoError(t, err, name)
					assert.Contains(t, []int{200, 405}, answer.StatusCode, name)
				}
			}
			eventually(t, "all leases are returned", func() bool { return g.Pool.Stats().Backend(addr).Leased == 0 })
			assert.Zero(t, g.Counts.Gateway.Load()+g.Counts.Timeout.Load())
		})
	}
}

func uploadRequest(t *testing.T, addr string, body io.Reader) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+"/", body)
	require.NoError(t, err)
	return request
}

// Early hints and trailers as real servers write them.
func TestRealServersMaySendInterimResponsesAndTrailers(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	talkative := map[string]func(t *testing.T) string{
		"net/http": func(t *testing.T) string {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Link", "</a.css>; rel=preload")
				w.WriteHeader(103)
				w.Header().Del("Link")
				w.Header().Set("Trailer", "Digest")
				io.WriteString(w, "hello")
				w.Header().Set("Digest", "42")
			}))
			t.Cleanup(s.Close)
			return s.Listener.Addr().String()
		},
		"node": func(t *testing.T) string {
			addr := testutil.FreeAddr(t)
			host, port, _ := net.SplitHostPort(addr)
			return startPeer(t, addr, "node", "-e", "require('http').createServer((q,s)=>{ s.writeEarlyHints({link:'</a.css>; rel=preload'});"+
				" s.writeHead(200,{Trailer:'Digest'}); s.write('hello'); s.addTrailers({Digest:'42'}); s.end() }).listen("+port+",'"+host+"')")
		},
	}
	for name, serve := range talkative {
		t.Run(name, func(t *testing.T) {
			r, _ := startGateway(t, serve(t))

			s := sendAndRead(t, r.addr, ruleTrailers, "trailers.go", get("/", "TE: trailers\r\nConnection: TE, close\r\n"))

			s.wantPrefix(t, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nVia: 1.1 socketup\r\n\r\nHTTP/1.1 200 OK\r\n")
			assert.True(t, strings.HasSuffix(s.got, "\r\n0\r\nDigest: 42\r\n\r\n"), s.got)
		})
	}
}

// Uploads as real clients send them, to a backend that reports what it
// received.
func TestRealClientsUploadFiles(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d bytes, expect %q, %s", n, r.Header.Get("Expect"), r.Proto)
	}))
	t.Cleanup(s.Close)
	r, g := startGateway(t, s.Listener.Addr().String())
	file := t.TempDir() + "/file"
	require.NoError(t, os.WriteFile(file, bytes.Repeat([]byte("f"), large), 0o600))
	url := "http://" + r.addr + "/"
	curl := []string{"curl", "--silent", "--show-error", "--fail", url}
	for name, c := range map[string]struct {
		command []string
		says    string
	}{
		"curl":                  {append(curl, "-T", file), fmt.Sprintf("%d bytes, expect \"100-continue\"", large)},
		"curl, in chunks":       {append(curl, "-T", file, "-H", "Transfer-Encoding: chunked"), fmt.Sprintf("%d bytes", large)},
		"curl, without a query": {append(curl, "-T", file, "-H", "Expect:"), fmt.Sprintf("%d bytes, expect \"\"", large)},
		"curl, HTTP/1.0":        {append(curl, "-T", file, "--http1.0"), fmt.Sprintf("%d bytes, expect \"\", HTTP/1.1", large)},
		"ab":                    {[]string{"ab", "-q", "-k", "-n", "40", "-c", "8", "-p", file, "-T", "text/plain", url}, "Failed requests:        0\n"},
		"python":                {[]string{"python3", "-c", fmt.Sprintf("import http.client as h; c=h.HTTPConnection(%q)\nfor i in range(3): c.request('POST','/',open(%q,'rb'),encode_chunked=i==1); print(c.getresponse().read())", r.addr, file)}, fmt.Sprintf("%d bytes", large)},
		"node": {[]string{"node", "-e", fmt.Sprintf("const h=require('http'),f=require('fs'),a=new h.Agent({keepAlive:true,maxSockets:1});let n=3;const go=()=>f.createReadStream(%q).pipe("+
			"h.request(%q,{method:'POST',agent:a},r=>{r.setEncoding('utf8');r.on('data',d=>console.log(d));r.on('end',()=>--n?go():a.destroy())}));go()", file, url)}, fmt.Sprintf("%d bytes", large)},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(c.command[0]); err != nil {
				t.Skipf("%s is not installed", c.command[0])
			}

			output, err := exec.CommandContext(testContext(t), c.command[0], c.command[1:]...).CombinedOutput()

			require.NoError(t, err, "%s", output)
			assert.Contains(t, string(output), c.says)
			assert.NotContains(t, string(output), "Non-2xx")
		})
	}
	assert.Zero(t, g.Counts.Gateway.Load()+g.Counts.Truncated.Load())
}

func TestRealClientsGetResponses(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	s := testutil.ServePolite(t)
	r, g := startGateway(t, s.Addr)
	for name, args := range map[string][]string{
		"curl": {"--silent", "--show-error", "--fail", "http://" + r.addr + "/[1-20]"},
		"wrk":  {"-t1", "-c8", "-d1s", "http://" + r.addr + "/"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(name); err != nil {
				t.Skipf("%s is not installed", name)
			}

			output, err := exec.CommandContext(testContext(t), name, args...).CombinedOutput()

			require.NoError(t, err, "%s", output)
			assert.NotContains(t, string(output), "Non-2xx")
			assert.NotContains(t, string(output), "Socket errors")
			if name == "curl" {
				assert.Equal(t, strings.Repeat("hello", 20), string(output))
			}
		})
	}
	assert.LessOrEqual(t, s.Accepted(), 4)
	assert.Zero(t, g.Counts.Gateway.Load())
}
