package engine

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

	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/internal/testutil"
)

const writeRule = "house rule: a write deadline is for one write. client.go, write"

// afterwards waits until a deadline that was set d ago or later has passed.
func afterwards(d time.Duration) { <-time.After(2 * d) }

// The deadline of an upload must not end what is sent on its connection later.
func TestDeadlineOfAnUploadIsNotForTheNextRequests(t *testing.T) {
	t.Parallel()
	s := testutil.Answering(t, func(int, *http.Request) string { return testutil.Saying("ok") })
	p, hurried := small(t, 1), quick
	hurried.Idle = 100 * time.Millisecond
	c := posting("/", "")
	c.Stream, c.Length = strings.NewReader(strings.Repeat("x", 64<<10)), 64<<10
	a, err := p.RoundTrip(t.Context(), s.Addr, c, &hurried)
	require.NoError(t, err)
	_, err = readAll(a) // the server has read all of the upload: nobody has to stop it
	require.NoError(t, err)
	l, err := p.Get(t.Context(), s.Addr, &hurried)
	require.NoError(t, err)
	line := NewPipeline(l.Link, hurried)
	defer line.Close()

	afterwards(hurried.Idle)

	require.NoError(t, line.Get(getting("/")), writeRule)
}

// Nor must that of a flush which had to wait.
func TestDeadlineOfAFlushIsNotForTheNextOne(t *testing.T) {
	t.Parallel()
	filled := make(chan struct{})
	s := testutil.Serve(t, func(c *net.TCPConn, _ int) {
		<-filled
		testutil.Requests(bufio.NewReader(c), func(*http.Request) bool { _, err := io.WriteString(c, testutil.Saying("ok")); return err == nil })
	})
	l := linked(t, s.Addr)
	unix.SetsockoptInt(l.Fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	hurried := quick
	hurried.Idle = 400 * time.Millisecond
	line := NewPipeline(l, hurried)
	defer line.Close()
	big := getting("/")
	for i := range 60 { // more than both kernels take: the flush waits until the server reads
		big.Fields = append(big.Fields, http1.Field{Name: fmt.Appendf(nil, "Cookie-%d", i), Value: bytes.Repeat([]byte("c"), 8<<10)})
	}
	time.AfterFunc(hurried.Idle/8, func() { close(filled) })
	require.NoError(t, line.Get(big))

	afterwards(hurried.Idle)

	require.NoError(t, line.Get(getting("/")), writeRule)
}
