package client

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/internal/testutil"
)

func getting(target string) *Call {
	return &Call{Method: []byte("GET"), Target: []byte(target), Host: []byte("socket.up")}
}

func posting(target, body string) *Call {
	c := getting(target)
	c.Method, c.Body = []byte("POST"), []byte(body)
	return c
}

var quick = Timeouts{Connect: testutil.Limit, Head: testutil.Limit, Idle: testutil.Limit, Cont: time.Second, Total: testutil.Limit}

// linked connects a link to addr; it is closed when the test ends.
func linked(t testing.TB, addr string) *Link {
	t.Helper()
	l, err := DialLink(t.Context(), addr, testutil.Limit)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// headOf is an answer's head of n bytes, without a length.
func headOf(status string, n int) string {
	const begin, end = "HTTP/1.1 ", "\r\nA: "
	return begin + status + end + strings.Repeat("a", n-len(begin+status+end)-4) + "\r\n\r\n"
}
