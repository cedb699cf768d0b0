package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/internal/testutil"
)

func getRequest(target string) *client.Request {
	return &client.Request{Method: []byte("GET"), Target: []byte(target), Host: []byte("socket.up")}
}

func postRequest(target, body string) *client.Request {
	c := getRequest(target)
	c.Method, c.Body = []byte("POST"), []byte(body)
	return c
}

var testTimeouts = client.Timeouts{Connect: testutil.MaxWait, Head: testutil.MaxWait, Idle: testutil.MaxWait, ContinueWait: time.Second, Total: testutil.MaxWait}

// dialConn opens a connection to addr; it is closed when the test ends.
func dialConn(t testing.TB, addr string) *client.Conn {
	t.Helper()
	l, err := client.DialIP(t.Context(), addr, testutil.MaxWait)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}
