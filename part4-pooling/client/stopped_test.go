package client

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/socket"
)

// After SIGSTOP and SIGCONT, or a pause of the machine, every deadline has passed, and the
// poller says so before it reads. What has arrived meanwhile is not late.
func TestResponseThatArrivedWhileThisProcessWasStoppedIsNotLate(t *testing.T) {
	t.Parallel()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer unix.Close(pair[1])
	p, err := socket.NewFD(pair[0])
	require.NoError(t, err)
	l := NewConn(p, "stopped")
	defer l.Close()
	_, err = unix.Write(pair[1], []byte(testutil.Response200("in time")))
	require.NoError(t, err)

	stopped := time.Now().Add(-time.Hour)
	a := &Response{Conn: l, Ctx: context.Background(), IdleTimeout: testutil.MaxWait, waitingSince: stopped}
	require.NoError(t, a.ReadHead([]byte("GET"), time.Minute), "wait.go, waitRead")
	body, err := io.ReadAll(a)
	require.NoError(t, err)
	assert.Equal(t, "in time", string(body))

	l.BeginExchange()
	a.waitingSince = stopped
	assert.ErrorIs(t, a.ReadHead([]byte("GET"), time.Minute), ErrHeadTimeout, "what has not arrived is late")
}
