package socket

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What inherit.go says of SO_REUSEPORT: each socket has an accept queue of its own, and
// closing the socket resets the connections in it, although another socket listens on
// the same address.
func TestClosingOneOfTwoReuseportSocketsResetsItsQueue(t *testing.T) {
	if migrates, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_migrate_req"); string(migrates) == "1\n" {
		t.Skip("skipped: net.ipv4.tcp_migrate_req is 1, so the kernel moves the connections to the other socket")
	}
	listen := func(addr string) int {
		sa, family, err := ParseSockaddr(addr)
		require.NoError(t, err)
		fd, err := NewSocket(family)
		require.NoError(t, err)
		require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
		require.NoError(t, unix.Bind(fd, sa))
		require.NoError(t, unix.Listen(fd, 128))
		return fd
	}
	old := listen("127.0.0.1:0")
	addr := LocalAddr(old).String()
	successor := listen(addr)
	defer unix.Close(successor)
	const clients = 40
	var all []net.Conn
	for range clients {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer c.Close()
		all = append(all, c)
	}
	require.Eventually(t, func() bool { return AcceptQueueLen(old)+AcceptQueueLen(successor) == clients }, 10*time.Second, time.Millisecond)
	lost := AcceptQueueLen(old) // the kernel chose the socket by a hash of the addresses
	require.NotZero(t, lost)

	unix.Close(old)

	reset := 0
	countResets := func() int {
		for _, c := range all {
			raw, err := c.(*net.TCPConn).SyscallConn()
			require.NoError(t, err)
			raw.Control(func(fd uintptr) { // reading SO_ERROR clears it
				if code, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); code == int(unix.ECONNRESET) {
					reset++
				}
			})
		}
		return reset
	}
	assert.Eventually(t, func() bool { return countResets() == lost }, 10*time.Second, time.Millisecond, "connections that are reset")
	t.Logf("%d of %d clients were reset; the successor has the others", reset, clients)
}
