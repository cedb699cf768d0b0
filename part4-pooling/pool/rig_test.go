package pool

import (
	"context"
	"io"
	"testing"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/internal/testutil"
)

const earlyHints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nKeep-Alive: timeout=1\r\n\r\n"

func getRequest(target string) *client.Request {
	return &client.Request{Method: []byte("GET"), Target: []byte(target), Host: []byte("socket.up")}
}

func postRequest(target, body string) *client.Request {
	c := getRequest(target)
	c.Method, c.Body = []byte("POST"), []byte(body)
	return c
}

var testTimeouts = client.Timeouts{Connect: testutil.MaxWait, Head: testutil.MaxWait, Idle: testutil.MaxWait, ContinueWait: time.Second, Total: testutil.MaxWait}

// readAll reads the body of r and closes it.
func readAll(r *client.Response) (string, error) {
	defer r.Close()
	body, err := io.ReadAll(r)
	return string(body), err
}

// poolRoundTrip sends a request through p and reads the whole response.
func poolRoundTrip(p *Pool, addr string, c *client.Request) (status int, body string, err error) {
	r, err := p.RoundTrip(context.Background(), addr, c, &testTimeouts)
	if err != nil {
		return 0, "", err
	}
	status = r.Status
	body, err = readAll(r)
	return status, body, err
}

// newSmallPool returns a pool for n connections, without an evictor and with
// limits so long that no connection expires.
func newSmallPool(t testing.TB, n int) *Pool {
	t.Helper()
	p := New(Limits{PerBackend: n, Total: n, MaxWait: testutil.MaxWait, IdleTime: time.Hour, Lifetime: 24 * time.Hour})
	t.Cleanup(p.Close)
	return p
}
