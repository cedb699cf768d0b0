package socket

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// If a queued connection fails, Linux returns its error from accept(2). The listening
// socket is unaffected, and the server accepts the next client without a pause.
func TestAcceptSkipsConnectionsThatFailedInTheQueue(t *testing.T) {
	fd, err := Listen("127.0.0.1:0", 16)
	require.NoError(t, err)
	defer unix.Close(fd)
	defer func() { accept4 = unix.Accept4 }()
	failOnce := func(errno unix.Errno) {
		accept4 = func(int, int) (int, unix.Sockaddr, error) { accept4 = unix.Accept4; return -1, nil, errno }
	}
	for _, errno := range []unix.Errno{
		unix.ENETDOWN, unix.EPROTO, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.ENONET, unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH, unix.ECONNABORTED,
	} {
		client, err := net.Dial("tcp", LocalAddr(fd).String())
		require.NoError(t, err)
		defer client.Close()
		failOnce(errno)

		c, _, err := Accept(fd)

		require.NoError(t, err, "house rule: one connection's end is not another's wait (accept(2); server.go, accept)")
		unix.Close(c)
	}

	for _, errno := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EAGAIN} {
		failOnce(errno)

		_, _, err := Accept(fd)

		assert.Equal(t, errno, err, "what concerns us is told")
	}
}
