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
	_, err = readAll(a) // the server has read all of the upload: nobody has to stop it
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
