package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// If a queued connection fails, Linux returns its error from accept(2). The listening
// socket is unaffected, and the server accepts the next client without a pause.
func TestAcceptSkipsConnectionsThatFailedInTheQueue(t *testing.T) {
	skipIfJudging(t)
	fd, err := listen("127.0.0.1:0", 16)
	require.NoError(t, err)
	defer unix.Close(fd)
	defer func() { accept4 = unix.Accept4 }()
	failOnce := func(errno unix.Errno) {
		accept4 = func(int, int) (int, unix.Sockaddr, error) { accept4 = unix.Accept4; return -1, nil, errno }
	}
	for _, errno := range []unix.Errno{
		unix.ENETDOWN, unix.EPROTO, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.ENONET, unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH, unix.ECONNABORTED,
	} {
		dial(t, localAddr(fd).String())
		failOnce(errno)

		c, _, err := accept(fd)

		require.NoError(t, err, "house rule: one connection's end is not another's wait (accept(2); socket_linux.go, accept)")
		unix.Close(c)
	}

	for _, errno := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EAGAIN} {
		failOnce(errno)

		_, _, err := accept(fd)

		assert.Equal(t, errno, err, "what concerns us is told")
	}
}
