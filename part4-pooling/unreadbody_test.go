package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
)

// Servers that leave a request's body unread, and parse it as the next request.

const ruleUnreadBody = "house rule, RFC 9112 §11.2: a connection that carried a body unexpected for its method is not reused"

// hiddenRequest returns a request whose body, if the server leaves it unread,
// is the beginning of another request: the next client's request line becomes
// part of a field value.
func hiddenRequest(method, framing string) string {
	const evil = "GET /evil.txt HTTP/1.1\r\nX-Ignore: "
	if framing == "chunked" {
		return fmt.Sprintf("%s /index.html HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", method, len(evil), evil)
	}
	return fmt.Sprintf("%s /index.html HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", method, len(evil), evil)
}

// attack sends a request that hides another, and waits until the connection to
// the backend is free for the next client.
func attack(t testing.TB, addr string, g *gateway.Gateway, request string) {
	t.Helper()
	attacker := converse(t, addr, request)
	method, _, _ := strings.Cut(request, " ")
	a, err := http.ReadResponse(bufio.NewReader(attacker), &http.Request{Method: method})
	require.NoError(t, err)
	require.Equal(t, 200, a.StatusCode)
	_, err = io.Copy(io.Discard, a.Body)
	require.NoError(t, err)
	attacker.Close()
	eventually(t, "the connection is returned to the pool", func() bool { return g.Pool.Stats().Backends[0].Leased == 0 })
}

func TestUnreadBodyIsNotParsedAsARequest(t *testing.T) {
	onPoolAndEngine(t, func(t *testing.T, change func(*gateway.Gateway)) {
		for _, method := range []string{"GET", "HEAD", "DELETE", "OPTIONS", "REPORT"} {
			for _, framing := range []string{"a length", "chunked"} {
				t.Run(method+" with "+framing, func(t *testing.T) {
					t.Parallel()
					r, g := startEngineGateway(t, testutil.ServeScript(t, ignoringBodies).Addr, change)
					for range 2 {
						attack(t, r.addr, g, hiddenRequest(method, framing))

						victim := sendAndRead(t, r.addr, ruleUnreadBody, "request.go, HasUnexpectedBody", get("/mine", closeField))

						require.Equal(t, "/mine", victim.wantFramed(t).body, "the victim got what another client asked for. %s", ruleUnreadBody)
					}
				})
			}
		}
	})
}

// A request with an expected body, or without one, does not cost its
// connection.
func TestConnectionIsReusedAfterAnExpectedBody(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string { return testutil.Response200(r.URL.Path) })
	r, _ := startGateway(t, s.Addr)
	client := converse(t, r.addr, "")
	in := bufio.NewReader(client)

	for _, method := range []string{"POST", "PUT", "PATCH"} {
		requireResponse(t, client, in, strings.Replace(post("/"+method, "body"), "POST", method, 1), "200 OK", "/"+method)
	}
	requireResponse(t, client, in, get("/empty", "Content-Length: 0\r\n"), "200 OK", "/empty")
	requireResponse(t, client, in, get("/none"), "200 OK", "/none")

	assert.Equal(t, 1, s.Accepted())
}

// Python's http.server does not read the body of a GET.
func TestPythonServerAnswersNoSmuggledRequest(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	if out, err := exec.Command("python3", "-m", "http.server", "--help").Output(); err != nil || !strings.Contains(string(out), "--protocol") {
		t.Skip("python3 is not installed, or older than 3.11")
	}
	dir, addr := t.TempDir(), testutil.FreeAddr(t)
	for _, name := range []string{"index.html", "evil.txt", "mine.txt"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
	}
	host, port, _ := net.SplitHostPort(addr)
	startPeer(t, addr, "python3", "-m", "http.server", "--protocol", "HTTP/1.1", "--bind", host, "--directory", dir, port)
	for way, engines := range map[string]bool{"pool": false, "engine": true} {
		t.Run(way, func(t *testing.T) {
			r, g := startEngineGateway(t, addr, func(g *gateway.Gateway) { g.Backends[0].Engine = engines })
			for range 10 {
				attack(t, r.addr, g, hiddenRequest("GET", "a length"))

				victim := sendAndRead(t, r.addr, ruleUnreadBody, "request.go, HasUnexpectedBody", get("/mine.txt", closeField))

				require.Equal(t, "mine.txt", victim.wantFramed(t).body, "the victim got what another client asked for. %s", ruleUnreadBody)
			}
		})
	}
}
