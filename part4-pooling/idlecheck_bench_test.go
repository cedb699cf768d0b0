package main

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/internal/testutil"
)

// BenchmarkIdleCheck compares ways to check an idle connection with the cost of
// a new one. Nothing arrives on a healthy connection, so a check that waits
// always waits for its full timeout, and longer: SO_RCVTIMEO is rounded to
// kernel ticks.
func BenchmarkIdleCheck(b *testing.B) {
	s := testutil.ServeScript(b, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	b.Run("check", func(b *testing.B) {
		l := dialConn(b, s.Addr)
		for b.Loop() {
			require.NoError(b, l.CheckIdle())
		}
	})
	b.Run("connect-and-close", func(b *testing.B) {
		for b.Loop() {
			c, err := client.Connect(b.Context(), s.Addr, maxWait)
			require.NoError(b, err)
			c.Close()
		}
	})
	b.Run("poll-1ms", func(b *testing.B) {
		fd := dialConn(b, s.Addr).Sysfd
		for b.Loop() {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 1)
			require.True(b, n == 0 || err == unix.EINTR)
		}
	})
	b.Run("read-SO_RCVTIMEO-1ms", func(b *testing.B) {
		c, err := client.Connect(b.Context(), s.Addr, maxWait)
		require.NoError(b, err)
		defer c.Close()
		fd := c.Sysfd
		patience := unix.NsecToTimeval(int64(time.Millisecond))
		unix.SetNonblock(fd, false)
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience)
		for b.Loop() {
			_, err := unix.Read(fd, make([]byte, 1))
			require.True(b, err == unix.EAGAIN || err == unix.EINTR)
		}
	})
}
