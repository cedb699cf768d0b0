package pool

import (
	"context"
	"io"
	"testing"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/internal/testutil"
)

const hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nKeep-Alive: timeout=1\r\n\r\n"

func getting(target string) *client.Call {
	return &client.Call{Method: []byte("GET"), Target: []byte(target), Host: []byte("socket.up")}
}

func posting(target, body string) *client.Call {
	c := getting(target)
	c.Method, c.Body = []byte("POST"), []byte(body)
	return c
}

var quick = client.Timeouts{Connect: testutil.Limit, Head: testutil.Limit, Idle: testutil.Limit, Cont: time.Second, Total: testutil.Limit}

// readAll reads the body of r and closes it.
func readAll(r *client.Answer) (string, error) {
	defer r.Close()
	body, err := io.ReadAll(r)
	return string(body), err
}

// asked makes a call on p and reads its answer.
func asked(p *Pool, addr string, c *client.Call) (status int, body string, err error) {
	r, err := p.RoundTrip(context.Background(), addr, c, &quick)
	if err != nil {
		return 0, "", err
	}
	status = r.Status
	body, err = readAll(r)
	return status, body, err
}

// small is a pool with room for n links, without an evictor and with nothing
// that goes by itself.
func small(t testing.TB, n int) *Pool {
	t.Helper()
	p := New(Limits{PerBackend: n, Total: n, Wait: testutil.Limit, Idle: time.Hour, Life: 24 * time.Hour})
	t.Cleanup(p.Close)
	return p
}
