package socket

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestInheritedSocketIsUsedAsItIs(t *testing.T) {
	first, err := Listen("127.0.0.1:0", 16)
	require.NoError(t, err)
	defer unix.Close(first)
	passed, err := unix.Dup(first) // as exec(2) passes it: dup(2) clears FD_CLOEXEC
	require.NoError(t, err)
	defer unix.Close(passed)

	fd, err := Listen(fmt.Sprint("fd:", passed), 1)

	require.NoError(t, err)
	assert.Equal(t, passed, fd)
	assert.Equal(t, LocalAddr(first), LocalAddr(fd))
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	require.NoError(t, err)
	assert.NotZero(t, flags&unix.FD_CLOEXEC, "child processes do not inherit it in turn")
	for range 4 { // with a backlog of 1, two clients would fit
		c, err := net.DialTimeout("tcp", LocalAddr(fd).String(), PollInterval*50)
		require.NoError(t, err, "the backlog is that of the process that opened the socket")
		defer c.Close()
	}
}

func TestWhatIsNoListeningSocketIsNotInherited(t *testing.T) {
	file, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer file.Close()
	unconnected, err := NewSocket(unix.AF_INET)
	require.NoError(t, err)
	defer unix.Close(unconnected)
	local, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer unix.Close(local)
	require.NoError(t, unix.Bind(local, &unix.SockaddrUnix{Name: filepath.Join(t.TempDir(), "s")}))
	require.NoError(t, unix.Listen(local, 1))

	for addr, says := range map[string]string{
		"fd:":                          `bad address "fd:": want the number of a descriptor, such as fd:3`,
		"fd:three":                     `bad address "fd:three": want the number of a descriptor`,
		"fd:-1":                        `bad address "fd:-1": want the number of a descriptor`,
		"fd:999999":                    "cannot listen on fd:999999: bad file descriptor; start this process with a listening socket as that descriptor",
		fmt.Sprint("fd:", file.Fd()):   "socket operation on non-socket; start this process with a listening socket",
		fmt.Sprint("fd:", unconnected): "it is not a listening TCP socket",
		fmt.Sprint("fd:", local):       "it is not a listening TCP socket",
	} {
		_, err := Listen(addr, 1)

		assert.ErrorContains(t, err, says, addr)
	}
}
