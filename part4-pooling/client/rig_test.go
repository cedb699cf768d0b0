package client

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/internal/testutil"
)

func getRequest(target string) *Request {
	return &Request{Method: []byte("GET"), Target: []byte(target), Host: []byte("socket.up")}
}

func postRequest(target, body string) *Request {
	c := getRequest(target)
	c.Method, c.Body = []byte("POST"), []byte(body)
	return c
}

var testTimeouts = Timeouts{Connect: testutil.MaxWait, Head: testutil.MaxWait, Idle: testutil.MaxWait, ContinueWait: time.Second, Total: testutil.MaxWait}

// dialConn connects to addr. The connection is closed when the test ends.
func dialConn(t testing.TB, addr string) *Conn {
	t.Helper()
	l, err := DialIP(t.Context(), addr, testutil.MaxWait)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// responseHead returns a response head of n bytes, without Content-Length.
func responseHead(status string, n int) string {
	const begin, end = "HTTP/1.1 ", "\r\nA: "
	return begin + status + end + strings.Repeat("a", n-len(begin+status+end)-4) + "\r\n\r\n"
}
