package main

import (
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// setMaxDescriptors sets the descriptor limit of the process pid to n: it gets
// no descriptor numbered n or higher, and keeps those it has. prlimit(2).
func setMaxDescriptors(t testing.TB, pid int, n uint64) {
	t.Helper()
	var old unix.Rlimit
	require.NoError(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old))
	require.NoError(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: old.Max}, nil))
}

// readFrom sends s.sent on c, which stays open, and reads one response, which
// must have a Content-Length.
func (s transcript) readFrom(t testing.TB, c net.Conn) transcript {
	t.Helper()
	c.SetDeadline(time.Now().Add(maxWait))
	_, err := io.WriteString(c, s.sent)
	require.NoError(t, err)
	for b := make([]byte, 1); !strings.HasSuffix(s.got, "\r\n\r\n"); s.got += string(b) {
		_, err := io.ReadFull(c, b)
		require.NoError(t, err, "the response head: %q", s.got)
	}
	length, err := strconv.Atoi(s.parse(t).fields["content-length"])
	require.NoError(t, err, "Content-Length of %q", s.got)
	body := make([]byte, length)
	_, err = io.ReadFull(c, body)
	require.NoError(t, err, "the body after %q", s.got)
	s.got += string(body)
	return s
}
