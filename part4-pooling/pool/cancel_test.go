package pool

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/socket"
)

// A cancelPoint is a point in the life of a request at which its caller cancels it.
// call makes a request, has it cancelled at that point, and returns its error.
type cancelPoint struct {
	name     string
	call     func(t *testing.T, m *cancelRig) error
	reusable bool // the connection is idle afterwards; otherwise it is closed
}

// A cancelRig is a caller with a pool for one connection, and a server that
// reports each request that arrives.
type cancelRig struct {
	p      *Pool
	addr   string
	asked  chan string // the target of each request that arrived
	ctx    watchedContext
	cancel func()
}

// A watchedContext reports that a goroutine has begun to watch it, which a
// request does only when it has waited for a while.
type watchedContext struct {
	context.Context
	begun chan bool
}

func (w watchedContext) Done() <-chan struct{} {
	select {
	case w.begun <- true:
	default:
	}
	return w.Context.Done()
}

func newCancelRig(t *testing.T) *cancelRig {
	m := &cancelRig{p: newSmallPool(t, 1), asked: make(chan string, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	m.ctx, m.cancel = watchedContext{ctx, make(chan bool, 1)}, cancel
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			m.asked <- r.URL.Path
			switch r.URL.Path {
			case "/good":
				io.WriteString(c, testutil.Response200("hello"))
			case "/slow":
				<-m.ctx.begun
				io.WriteString(c, testutil.Response200("hello"))
			case "/half-head":
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-")
			case "/hints":
				io.WriteString(c, earlyHints)
			case "/half-body":
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
			case "/closes":
				return
			case "/upload":
				<-t.Context().Done()
			}
		}
	})
	m.addr = s.Addr
	return m
}

// start makes a request in the background and returns the channel for its error.
func (m *cancelRig) start(c *client.Request) <-chan error {
	failed := make(chan error, 1)
	go func() {
		r, err := m.p.RoundTrip(m.ctx, m.addr, c, &testTimeouts)
		if err == nil {
			_, err = readAll(r)
		}
		failed <- err
	}()
	return failed
}

// duringRequest cancels a request after the server has received it.
func duringRequest(c func() *client.Request) func(*testing.T, *cancelRig) error {
	return func(t *testing.T, m *cancelRig) error {
		failed := m.start(c())
		testutil.Receive(t, m.asked, "the request")
		m.cancel()
		return testutil.Receive(t, failed, "the cancelled request ends")
	}
}

// longUpload returns a request with an endless body.
func longUpload(expects bool) *client.Request {
	c := postRequest("/upload", "")
	c.Stream, c.Length, c.ExpectContinue = testutil.Zeros{}, 1<<40, expects
	return c
}

var cancelPoints = []cancelPoint{
	{"before it begins", func(t *testing.T, m *cancelRig) error {
		m.cancel()
		return testutil.Receive(t, m.start(getRequest("/good")), "the request ends")
	}, false},
	{"while it waits for a connection", func(t *testing.T, m *cancelRig) error {
		l, err := m.p.Get(t.Context(), m.addr, &testTimeouts)
		require.NoError(t, err)
		failed := m.start(getRequest("/good"))
		testutil.Eventually(t, "it waits", func() bool { return m.p.Stats().Backend(m.addr).Waiting == 1 })
		m.cancel()
		err = testutil.Receive(t, failed, "the request ends")
		m.p.put(l, true)
		return err
	}, true},
	{"while it is connected", func(t *testing.T, m *cancelRig) error {
		addr := m.addr
		m.addr = testutil.UnresponsiveAddr(t)
		failed := m.start(getRequest("/good"))
		testutil.Eventually(t, "it connects", func() bool { return m.p.Stats().Backend(m.addr).Leased == 1 })
		m.cancel()
		err := testutil.Receive(t, failed, "the request ends")
		m.addr = addr
		return err
	}, false},
	{"when it is connected", func(t *testing.T, m *cancelRig) error {
		m.p.Dial = func(ctx context.Context, addr string, timeout time.Duration) (*client.Conn, error) {
			l, err := client.DialIP(ctx, addr, timeout)
			m.cancel()
			return l, err
		}
		return testutil.Receive(t, m.start(getRequest("/good")), "the request ends")
	}, true},
	{"as a connection is delivered", func(t *testing.T, m *cancelRig) error {
		l, err := m.p.Get(t.Context(), m.addr, &testTimeouts)
		require.NoError(t, err)
		failed := m.start(getRequest("/good"))
		testutil.Eventually(t, "it waits", func() bool { return m.p.Stats().Backend(m.addr).Waiting == 1 })
		m.p.mu.Lock() // so that the waiter sees both the cancel and the delivery
		m.cancel()
		m.p.deliver(m.p.backendFor(m.addr).queue.first, grant{lease: l})
		m.p.mu.Unlock()
		return testutil.Receive(t, failed, "the request ends")
	}, true},
	{"before the head", duringRequest(func() *client.Request { return getRequest("/silent") }), false},
	{"inside the head", duringRequest(func() *client.Request { return getRequest("/half-head") }), false},
	{"between an interim response and the final one", func(t *testing.T, m *cancelRig) error {
		c := getRequest("/hints")
		c.OnInterim = func(*client.Response) error { m.cancel(); return nil }
		return testutil.Receive(t, m.start(c), "the request ends")
	}, false},
	{"inside the body", duringRequest(func() *client.Request { return getRequest("/half-body") }), false},
	{"while its body is sent", duringRequest(func() *client.Request { return longUpload(false) }), false},
	{"while its body waits for 100 Continue", duringRequest(func() *client.Request { return longUpload(true) }), false},
	{"between the first try and the second", func(t *testing.T, m *cancelRig) error {
		_, _, err := poolRoundTrip(m.p, m.addr, getRequest("/good"))
		require.NoError(t, err)
		m.p.Dial = func(ctx context.Context, _ string, _ time.Duration) (*client.Conn, error) {
			m.cancel()
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		err = testutil.Receive(t, m.start(getRequest("/closes")), "the request ends")
		m.p.Dial = client.DialIP
		return err
	}, false},
	{"when the response has arrived", func(t *testing.T, m *cancelRig) error {
		r, err := m.p.RoundTrip(m.ctx, m.addr, getRequest("/good"), &testTimeouts)
		require.NoError(t, err)
		m.cancel()
		body, err := readAll(r)
		assert.Equal(t, "hello", body)
		require.NoError(t, err, "what has arrived needs no wait")
		return context.Canceled
	}, true},
	{"when the response has arrived, after a wait", func(t *testing.T, m *cancelRig) error {
		r, err := m.p.RoundTrip(m.ctx, m.addr, getRequest("/slow"), &testTimeouts)
		require.NoError(t, err)
		m.cancel() // its interrupt may still be on its way, and hit the next caller
		_, err = readAll(r)
		require.NoError(t, err)
		return context.Canceled
	}, false},
	{"after the end", func(t *testing.T, m *cancelRig) error {
		err := testutil.Receive(t, m.start(getRequest("/good")), "the request ends")
		require.NoError(t, err)
		m.cancel()
		return context.Canceled
	}, true},
}

// Whenever the cancel happens, the connection is closed or returned, never both:
// put panics on a second return, and the permits add up.
func TestCancelAtEachPointClosesOrReturnsTheConnection(t *testing.T) {
	t.Parallel()
	for _, at := range cancelPoints {
		t.Run(at.name, func(t *testing.T) {
			t.Parallel()
			m := newCancelRig(t)

			err := at.call(t, m)

			assert.ErrorIs(t, err, context.Canceled)
			b := m.p.Stats().Backend(m.addr)
			assert.Zero(t, b.Leased, "house rule: a request that ends returns its connection or closes it. response.go, Close; roundtrip.go, RoundTrip")
			assert.Zero(t, b.Waiting)
			assert.Equal(t, at.reusable, b.Idle == 1, "is the connection reusable? idle: %d", b.Idle)
			_, body, err := poolRoundTrip(m.p, m.addr, getRequest("/good"))
			require.NoError(t, err, "the next request fails because of it")
			assert.Equal(t, "hello", body)
		})
	}
}

// A cancel after the end of a request must not hit the next request on the same
// connection (Go issue 41600).
func TestLateCancelDoesNotAffectTheNextRequest(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
		if r.URL.Path == "/slow" {
			time.Sleep(socket.PollInterval + socket.PollInterval/2) // longer than waitRead goes without watching its context
		}
		return testutil.Response200("hello")
	})
	p := newSmallPool(t, 1)
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := p.RoundTrip(ctx, s.Addr, getRequest("/slow"), &testTimeouts)
		require.NoError(t, err)
		_, err = readAll(r)
		require.NoError(t, err)

		go cancel() // during the next request
		_, body, err := poolRoundTrip(p, s.Addr, getRequest("/"))

		require.NoError(t, err, "house rule: a cancel ends its own request only. response.go, Detach")
		require.Equal(t, "hello", body)
	}
	assert.Equal(t, 1, s.Accepted(), "and the connection survives")
}
