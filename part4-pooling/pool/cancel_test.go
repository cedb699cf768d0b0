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
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/socket"
)

// A cancelPoint is a point in the life of a request at which its caller loses patience:
// call makes a request, sees to it that cancel comes at that point, and returns how
// the request ended.
type cancelPoint struct {
	name     string
	call     func(t *testing.T, m *cancelRig) error
	reusable bool // the connection is of use still; else it must be gone
}

// A cancelRig is a caller with a pool that has room for one connection, and a server
// that tells when a request has come.
type cancelRig struct {
	p      *Pool
	addr   string
	asked  chan string // targets, as they come
	ctx    watchedContext
	cancel func()
}

// A watchedContext is a context that tells when somebody has begun to watch it, which
// a request does only when it has to wait.
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

// start makes a request in the background and returns where its error will come.
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

// duringRequest cancels when the server has got the request.
func duringRequest(c func() *client.Request) func(*testing.T, *cancelRig) error {
	return func(t *testing.T, m *cancelRig) error {
		failed := m.start(c())
		testutil.Receive(t, m.asked, "the request")
		m.cancel()
		return testutil.Receive(t, failed, "the end of a call that was cancelled")
	}
}

// longUpload is a request whose body never ends.
func longUpload(expects bool) *client.Request {
	c := postRequest("/upload", "")
	c.Stream, c.Length, c.ExpectContinue = testutil.Zeros{}, 1<<40, expects
	return c
}

var cancelPoints = []cancelPoint{
	{"before it begins", func(t *testing.T, m *cancelRig) error {
		m.cancel()
		return testutil.Receive(t, m.start(getRequest("/good")), "its end")
	}, false},
	{"while it waits for a connection", func(t *testing.T, m *cancelRig) error {
		l, err := m.p.Get(t.Context(), m.addr, &testTimeouts)
		require.NoError(t, err)
		failed := m.start(getRequest("/good"))
		testutil.Eventually(t, "it waits", func() bool { return m.p.Stats().Backend(m.addr).Waiting == 1 })
		m.cancel()
		err = testutil.Receive(t, failed, "its end")
		m.p.put(l, true)
		return err
	}, true},
	{"while it is connected", func(t *testing.T, m *cancelRig) error {
		addr := m.addr
		m.addr = testutil.UnresponsiveAddr(t)
		failed := m.start(getRequest("/good"))
		testutil.Eventually(t, "it connects", func() bool { return m.p.Stats().Backend(m.addr).Leased == 1 })
		m.cancel()
		err := testutil.Receive(t, failed, "its end")
		m.addr = addr
		return err
	}, false},
	{"when it is connected", func(t *testing.T, m *cancelRig) error {
		m.p.Dial = func(ctx context.Context, addr string, timeout time.Duration) (*client.Conn, error) {
			l, err := client.DialIP(ctx, addr, timeout)
			m.cancel()
			return l, err
		}
		return testutil.Receive(t, m.start(getRequest("/good")), "its end")
	}, true},
	{"as a connection is delivered", func(t *testing.T, m *cancelRig) error {
		l, err := m.p.Get(t.Context(), m.addr, &testTimeouts)
		require.NoError(t, err)
		failed := m.start(getRequest("/good"))
		testutil.Eventually(t, "it waits", func() bool { return m.p.Stats().Backend(m.addr).Waiting == 1 })
		m.p.mu.Lock() // so that the caller finds out when it has been delivered to
		m.cancel()
		m.p.deliver(m.p.backendFor(m.addr).queue.first, grant{lease: l})
		m.p.mu.Unlock()
		return testutil.Receive(t, failed, "its end")
	}, true},
	{"before the head", duringRequest(func() *client.Request { return getRequest("/silent") }), false},
	{"inside the head", duringRequest(func() *client.Request { return getRequest("/half-head") }), false},
	{"between an interim answer and the answer", func(t *testing.T, m *cancelRig) error {
		c := getRequest("/hints")
		c.OnInterim = func(*http1.ResponseHead) error { m.cancel(); return nil }
		return testutil.Receive(t, m.start(c), "its end")
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
		err = testutil.Receive(t, m.start(getRequest("/closes")), "its end")
		m.p.Dial = client.DialIP
		return err
	}, false},
	{"when the answer is there", func(t *testing.T, m *cancelRig) error {
		r, err := m.p.RoundTrip(m.ctx, m.addr, getRequest("/good"), &testTimeouts)
		require.NoError(t, err)
		m.cancel()
		body, err := readAll(r)
		assert.Equal(t, "hello", body)
		require.NoError(t, err, "what is here need not be waited for")
		return context.Canceled
	}, true},
	{"when the answer is there, after a wait", func(t *testing.T, m *cancelRig) error {
		r, err := m.p.RoundTrip(m.ctx, m.addr, getRequest("/slow"), &testTimeouts)
		require.NoError(t, err)
		m.cancel() // and with that an interrupt is on its way, which may find the next caller
		_, err = readAll(r)
		require.NoError(t, err)
		return context.Canceled
	}, false},
	{"when all is over", func(t *testing.T, m *cancelRig) error {
		err := testutil.Receive(t, m.start(getRequest("/good")), "its end")
		require.NoError(t, err)
		m.cancel()
		return context.Canceled
	}, true},
}

// Whenever the cancel comes, the connection is closed or given back, and never both:
// put panics at a second time, and the permits add up.
func TestCancelAtEachPointClosesOrReturnsTheConnection(t *testing.T) {
	t.Parallel()
	for _, at := range cancelPoints {
		t.Run(at.name, func(t *testing.T) {
			t.Parallel()
			m := newCancelRig(t)

			err := at.call(t, m)

			assert.ErrorIs(t, err, context.Canceled)
			b := m.p.Stats().Backend(m.addr)
			assert.Zero(t, b.Leased, "house rule: a call that ends gives its link back, or closes it. response.go, Close; roundtrip.go, RoundTrip")
			assert.Zero(t, b.Waiting)
			assert.Equal(t, at.reusable, b.Idle == 1, "is the link of use still? idle: %d", b.Idle)
			_, body, err := poolRoundTrip(m.p, m.addr, getRequest("/good"))
			require.NoError(t, err, "the next caller suffers for it")
			assert.Equal(t, "hello", body)
		})
	}
}

// A cancel that comes when the request is over must not hit the next one, which
// has the same connection (Go #41600).
func TestLateCancelDoesNotAffectTheNextRequest(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
		if r.URL.Path == "/slow" {
			time.Sleep(socket.PollInterval + socket.PollInterval/2) // a slow handler: for longer than a context goes unwatched
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

		go cancel() // while the next request is under way
		_, body, err := poolRoundTrip(p, s.Addr, getRequest("/"))

		require.NoError(t, err, "house rule: a cancel is for its own call. response.go, Detach")
		require.Equal(t, "hello", body)
	}
	assert.Equal(t, 1, s.Accepted(), "nor does it cost a connection")
}
