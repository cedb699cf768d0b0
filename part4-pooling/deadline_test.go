package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const writeRule = "house rule: a write deadline is for one write. client.go, write"

// afterwards waits until a deadline that was set d ago or later has passed.
func afterwards(d time.Duration) { <-time.After(2 * d) }

// The deadline of an upload must not end what is sent on its connection later.
func TestDeadlineOfAnUploadIsNotForTheNextRequests(t *testing.T) {
	t.Parallel()
	s := answering(t, func(int, *http.Request) string { return saying("ok") })
	p, hurried := small(t, 1), quick
	hurried.idle = 100 * time.Millisecond
	c := posting("/", "")
	c.stream, c.length = strings.NewReader(strings.Repeat("x", 64<<10)), 64<<10
	a, err := p.roundTrip(t.Context(), s.addr, c, &hurried)
	require.NoError(t, err)
	soon(t, a.l.upload.done, "the end of the upload, which nobody has to stop")
	_, err = readAll(a)
	require.NoError(t, err)
	l, err := p.get(t.Context(), s.addr, &hurried)
	require.NoError(t, err)
	line := newPipeline(l.link, hurried)
	defer line.close()

	afterwards(hurried.idle)

	require.NoError(t, line.get(getting("/")), writeRule)
}

// Nor must that of a flush which had to wait.
func TestDeadlineOfAFlushIsNotForTheNextOne(t *testing.T) {
	t.Parallel()
	filled := make(chan struct{})
	s := scriptedServer(t, func(c *net.TCPConn, _ int) {
		<-filled
		requests(bufio.NewReader(c), func(*http.Request) bool { _, err := io.WriteString(c, saying("ok")); return err == nil })
	})
	l := linked(t, s.addr)
	unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	hurried := quick
	hurried.idle = 400 * time.Millisecond
	line := newPipeline(l, hurried)
	defer line.close()
	big := getting("/")
	for i := range 60 { // more than both kernels take: the flush waits until the server reads
		big.fields = append(big.fields, field{fmt.Appendf(nil, "Cookie-%d", i), bytes.Repeat([]byte("c"), 8<<10)})
	}
	time.AfterFunc(hurried.idle/8, func() { close(filled) })
	require.NoError(t, line.get(big))

	afterwards(hurried.idle)

	require.NoError(t, line.get(getting("/")), writeRule)
}

// What the two mean to clients of a gateway: an engine gets the connection that
// had an upload, and loses it in the middle of other requests.
func TestUploadDoesNotSpoilItsConnectionForAnEngine(t *testing.T) {
	t.Parallel()
	s := answering(t, func(int, *http.Request) string { return saying("ok") })
	const idle = 50 * time.Millisecond
	r, _ := engined(t, s.addr, func(g *gateway) {
		g.pool.limits.perBackend, g.t.idle, g.engines.linger = 1, idle, time.Second
	})
	c := converse(t, r.addr, post("/", strings.Repeat("x", 64<<10)))
	in := bufio.NewReader(c)
	asks := func() int {
		a, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		io.Copy(io.Discard, a.Body)
		return a.StatusCode
	}
	require.Equal(t, 200, asks())

	for began := time.Now(); time.Since(began) < 4*idle; {
		io.WriteString(c, get("/"))
		require.Equal(t, 200, asks(), writeRule)
	}

	assert.Equal(t, 1, s.accepted(), writeRule)
	c.Close()
}
