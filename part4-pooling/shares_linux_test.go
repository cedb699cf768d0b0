package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
)

const ruleShare = "house rule: one client leaves as many connections to a backend as it has, and its requests fail at once when it has used up its share of the queue too"

// dialAs connects from another address of this machine: on Linux all of 127.0.0.0/8 are its own.
func dialAs(t *testing.T, client, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}, Timeout: maxWait}
	c, err := d.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(maxWait))
	return c
}

// startShared starts a gateway in front of a backend that answers /slow once release is closed.
func startShared(t *testing.T, engine bool, limits pool.Limits) (*testServer, *gateway.Gateway, *testutil.Server, chan struct{}) {
	release := make(chan struct{})
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
		if r.URL.Path == "/slow" {
			<-release
		}
		return testutil.Response200(r.URL.Path)
	})
	limits.MaxWait, limits.IdleTime, limits.Lifetime = maxWait, time.Hour, time.Hour
	p := pool.New(limits)
	t.Cleanup(p.Close)
	g := gateway.New(p, []gateway.Backend{{Path: "/", Addr: s.Addr, Engine: engine}})
	return startServer(t, withOffload(g)), g, s, release
}

func TestOneClientCannotHaveAllConnections(t *testing.T) {
	t.Parallel()
	for mode, engine := range map[string]bool{"pool": false, "engine": true} {
		r, g, s, release := startShared(t, engine, pool.Limits{PerBackend: 8, Total: 8})
		for range 20 {
			io.WriteString(dialAs(t, "127.0.0.66", r.addr), get("/slow"))
		}
		eventually(t, "the greedy client waits", func() bool {
			b := g.Pool.Stats().Backend(s.Addr)
			return b.Leased+b.Waiting == 20
		})

		c := dialAs(t, "127.0.0.67", r.addr)
		io.WriteString(c, get("/quick", closeField))
		got, err := io.ReadAll(c)

		require.NoError(t, err, "%s: %s", mode, ruleShare)
		assert.True(t, strings.HasPrefix(string(got), "HTTP/1.1 200 OK\r\n"), "%s: %s: %s", mode, ruleShare, got)
		assert.LessOrEqual(t, g.Pool.Stats().Backend(s.Addr).Leased, 5, "%s: %s", mode, ruleShare)
		close(release)
	}
}

func TestRequestsBeyondTheQueueFailAtOnce(t *testing.T) {
	t.Parallel()
	for mode, engine := range map[string]bool{"pool": false, "engine": true} {
		r, g, s, release := startShared(t, engine, pool.Limits{PerBackend: 2, Total: 2, Queue: 4})
		for range 3 { // one is in progress, two wait
			io.WriteString(dialAs(t, "127.0.0.66", r.addr), get("/slow"))
		}
		eventually(t, "two wait", func() bool { return g.Pool.Stats().Backend(s.Addr).Waiting == 2 })

		c := dialAs(t, "127.0.0.66", r.addr)
		io.WriteString(c, get("/slow", closeField))
		got, err := io.ReadAll(c) // returns although no connection has come free

		require.NoError(t, err, "%s: %s", mode, ruleShare)
		assert.True(t, strings.HasPrefix(string(got), "HTTP/1.1 503 Service Unavailable\r\n"), "%s: %s: %s", mode, ruleShare, got)
		assert.Contains(t, string(got), "Retry-After: 1\r\n", mode)
		assert.Contains(t, string(got), "too many requests wait", mode)
		close(release)
	}
}

// Behind our own proxy an address stands for many clients: none is limited to half.
func TestProxyMayHaveAllConnections(t *testing.T) {
	t.Parallel()
	const connections = 4
	for _, way := range []string{"-backend", "-engine"} {
		for _, flag := range []string{"-behind-proxy", "-one-client"} {
			asked, release := make(chan string, connections), make(chan bool)
			s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
				asked <- r.URL.Path
				<-release
				return testutil.Response200(r.URL.Path)
			})
			t.Cleanup(func() { close(release) }) // before the backend waits for its scripts
			_, addr, _ := startServing(t, way, "http://"+s.Addr, fmt.Sprint("-backend-connections=", connections), flag)

			for range connections {
				converse(t, addr, get("/"))
			}

			for n := range connections {
				receive(t, asked, fmt.Sprintf("request %d of %d of one address at the backend, with %s. main.go, serve", n+1, connections, flag))
			}
		}
	}
}
