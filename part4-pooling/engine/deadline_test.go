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

const ruleWriteDeadline = "house rule: a write deadline is for one write. exchange.go, Conn.Write"

// waitTwice waits until a deadline that was set d ago or later has passed.
func waitTwice(d time.Duration) { <-time.After(2 * d) }

// The write deadline of an upload must not fail later writes on its connection.
func TestUploadDeadlineDoesNotAffectLaterRequests(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(int, *http.Request) string { return testutil.Response200("ok") })
	p, hurried := newSmallPool(t, 1), testTimeouts
	hurried.Idle = 100 * time.Millisecond
	c := postRequest("/", "")
	c.Stream, c.Length = strings.NewReader(strings.Repeat("x", 64<<10)), 64<<10
	a, err := p.RoundTrip(t.Context(), s.Addr, c, &hurried)
	require.NoError(t, err)
	_, err = readAll(a) // the server has read the whole upload: it need not be stopped
	require.NoError(t, err)
	l, err := p.Get(t.Context(), s.Addr, &hurried)
	require.NoError(t, err)
	line := NewPipeline(l.Conn, hurried)
	defer line.Close()

	waitTwice(hurried.Idle)

	require.NoError(t, line.Do(getRequest("/")), ruleWriteDeadline)
}

// Nor must the write deadline of a flush that had to wait.
func TestFlushDeadlineDoesNotAffectLaterFlushes(t *testing.T) {
	t.Parallel()
	filled := make(chan struct{})
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		<-filled
		testutil.ReadRequests(bufio.NewReader(c), func(*http.Request) bool { _, err := io.WriteString(c, testutil.Response200("ok")); return err == nil })
	})
	l := dialConn(t, s.Addr)
	unix.SetsockoptInt(l.Sysfd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	hurried := testTimeouts
	hurried.Idle = 400 * time.Millisecond
	line := NewPipeline(l, hurried)
	defer line.Close()
	big := getRequest("/")
	for i := range 60 { // more than the socket buffers hold: the flush waits until the server reads
		big.Fields = append(big.Fields, http1.Field{Name: fmt.Appendf(nil, "Cookie-%d", i), Value: bytes.Repeat([]byte("c"), 8<<10)})
	}
	time.AfterFunc(hurried.Idle/8, func() { close(filled) })
	require.NoError(t, line.Do(big))

	waitTwice(hurried.Idle)

	require.NoError(t, line.Do(getRequest("/")), ruleWriteDeadline)
}
