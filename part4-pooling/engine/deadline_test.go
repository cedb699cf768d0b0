package engine

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
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

// The write deadline of a flush that had to wait must not fail later flushes.
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
