package server_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
	"socketup/part4-pooling/socket"
)

// An engine's connection carries the responses to many requests. A request that times out
// does not cost the others their connection.
func TestLateResponseIsDiscarded(t *testing.T) {
	t.Parallel()
	held, release := make(chan bool), make(chan bool)
	back := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
		if r.URL.Path == "/hold" {
			held <- true
			<-release
		}
		return testutil.Response200(r.URL.Path)
	})
	p := pool.New(pool.Limits{PerBackend: 4, Total: 4, MaxWait: testutil.MaxWait, IdleTime: time.Hour, Lifetime: time.Hour})
	defer p.Close()
	g := gateway.New(p, []gateway.Backend{{Path: "/", Addr: back.Addr, Engine: true}})
	fd, err := socket.Listen("127.0.0.1:0", 128)
	require.NoError(t, err)
	addr := socket.LocalAddr(fd).String()
	s, err := server.New(fd, g.Handler(nil), server.DefaultLimits, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	s.Offloader = g.OffloadOrReserve
	done := make(chan struct{})
	go func() { s.Serve(); close(done) }() // the test waits for it
	defer testutil.Receive(t, done, "the server stops")
	defer s.Stop()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(testutil.MaxWait))
	in := bufio.NewReader(c)
	ask := func(path string) {
		_, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: socket.up\r\n\r\n")
		require.NoError(t, err)
	}
	want := func(status int, body string) {
		t.Helper()
		a, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		got, err := io.ReadAll(a.Body)
		require.NoError(t, err)
		assert.Equal(t, status, a.StatusCode)
		assert.Contains(t, string(got), body)
	}
	ask("/warm") // shows the gateway that the backend keeps connections open
	want(200, "/warm")
	ask("/hold")
	testutil.Receive(t, held, "the backend handles /hold")

	s.Expire()
	want(503, "") // house rule: every slot has a deadline (deadlines.go, expire)
	close(release)
	ask("/next")

	want(200, "/next") // and not the late response to /hold
	assert.Equal(t, 1, back.Accepted(), "one request that ends early does not cost the others their connection. engine.go, deliver")
}
