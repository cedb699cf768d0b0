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

// A moment is a point in the life of a call at which its caller loses patience:
// call makes a call, sees to it that cancel comes at that point, and returns how
// the call ended.
type moment struct {
	name string
	call func(t *testing.T, m *impatient) error
	kept bool // the link is of use still; else it must be gone
}

// An impatient is a caller with a pool that has room for one link, and a server
// that tells when a request has come.
type impatient struct {
	p      *Pool
	addr   string
	asked  chan string // targets, as they come
	ctx    watched
	cancel func()
}

// A watched is a context that tells when somebody has begun to watch it, which
// a call does only when it has to wait.
type watched struct {
	context.Context
	begun chan bool
}

func (w watched) Done() <-chan struct{} {
	select {
	case w.begun <- true:
	default:
	}
	return w.Context.Done()
}

func newImpatient(t *testing.T) *impatient {
	m := &impatient{p: small(t, 1), asked: make(chan string, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	m.ctx, m.cancel = watched{ctx, make(chan bool, 1)}, cancel
	s := testutil.Serve(t, func(c *net.TCPConn, _ int) {
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			m.asked <- r.URL.Path
			switch r.URL.Path {
			case "/good":
				io.WriteString(c, testutil.Saying("hello"))
			case "/slow":
				<-m.ctx.begun
				io.WriteString(c, testutil.Saying("hello"))
			case "/half-head":
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-")
			case "/hints":
				io.WriteString(c, hints)
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

// begin makes a call in the background and returns where its error will come.
func (m *impatient) begin(c *client.Call) <-chan error {
	failed := make(chan error, 1)
	go func() {
		r, err := m.p.RoundTrip(m.ctx, m.addr, c, &quick)
		if err == nil {
			_, err = readAll(r)
		}
		failed <- err
	}()
	return failed
}

// duringRequest cancels when the server has got the request.
func duringRequest(c func() *client.Call) func(*testing.T, *impatient) error {
	return func(t *testing.T, m *impatient) error {
		failed := m.begin(c())
		testutil.Soon(t, m.asked, "the request")
		m.cancel()
		return testutil.Soon(t, failed, "the end of a call that was cancelled")
	}
}

// longUpload is a call whose body never ends.
func longUpload(expects bool) *client.Call {
	c := posting("/upload", "")
	c.Stream, c.Length, c.Expects = testutil.Zeros{}, 1<<40, expects
	return c
}

var moments = []moment{
	{"before it begins", func(t *testing.T, m *impatient) error {
		m.cancel()
		return testutil.Soon(t, m.begin(getting("/good")), "its end")
	}, false},
	{"while it waits for a connection", func(t *testing.T, m *impatient) error {
		l, err := m.p.Get(t.Context(), m.addr, &quick)
		require.NoError(t, err)
		failed := m.begin(getting("/good"))
		testutil.Eventually(t, "it waits", func() bool { return m.p.Stats().Of(m.addr).Waiting == 1 })
		m.cancel()
		err = testutil.Soon(t, failed, "its end")
		m.p.put(l, true)
		return err
	}, true},
	{"while it is connected", func(t *testing.T, m *impatient) error {
		addr := m.addr
		m.addr = testutil.SilentQueue(t)
		failed := m.begin(getting("/good"))
		testutil.Eventually(t, "it connects", func() bool { return m.p.Stats().Of(m.addr).Leased == 1 })
		m.cancel()
		err := testutil.Soon(t, failed, "its end")
		m.addr = addr
		return err
	}, false},
	{"when it is connected", func(t *testing.T, m *impatient) error {
		m.p.Dial = func(ctx context.Context, addr string, timeout time.Duration) (*client.Link, error) {
			l, err := client.DialLink(ctx, addr, timeout)
			m.cancel()
			return l, err
		}
		return testutil.Soon(t, m.begin(getting("/good")), "its end")
	}, true},
	{"as a connection is delivered", func(t *testing.T, m *impatient) error {
		l, err := m.p.Get(t.Context(), m.addr, &quick)
		require.NoError(t, err)
		failed := m.begin(getting("/good"))
		testutil.Eventually(t, "it waits", func() bool { return m.p.Stats().Of(m.addr).Waiting == 1 })
		m.p.mu.Lock() // so that the caller finds out when it has been delivered to
		m.cancel()
		m.p.deliver(m.p.backend(m.addr).queue.first, grant{lease: l})
		m.p.mu.Unlock()
		return testutil.Soon(t, failed, "its end")
	}, true},
	{"before the head", duringRequest(func() *client.Call { return getting("/silent") }), false},
	{"inside the head", duringRequest(func() *client.Call { return getting("/half-head") }), false},
	{"between an interim answer and the answer", func(t *testing.T, m *impatient) error {
		c := getting("/hints")
		c.Interim = func(*http1.Heading) error { m.cancel(); return nil }
		return testutil.Soon(t, m.begin(c), "its end")
	}, false},
	{"inside the body", duringRequest(func() *client.Call { return getting("/half-body") }), false},
	{"while its body is sent", duringRequest(func() *client.Call { return longUpload(false) }), false},
	{"while its body waits for 100 Continue", duringRequest(func() *client.Call { return longUpload(true) }), false},
	{"between the first try and the second", func(t *testing.T, m *impatient) error {
		_, _, err := asked(m.p, m.addr, getting("/good"))
		require.NoError(t, err)
		m.p.Dial = func(ctx context.Context, _ string, _ time.Duration) (*client.Link, error) {
			m.cancel()
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		err = testutil.Soon(t, m.begin(getting("/closes")), "its end")
		m.p.Dial = client.DialLink
		return err
	}, false},
	{"when the answer is there", func(t *testing.T, m *impatient) error {
		r, err := m.p.RoundTrip(m.ctx, m.addr, getting("/good"), &quick)
		require.NoError(t, err)
		m.cancel()
		body, err := readAll(r)
		assert.Equal(t, "hello", body)
		require.NoError(t, err, "what is here need not be waited for")
		return context.Canceled
	}, true},
	{"when the answer is there, after a wait", func(t *testing.T, m *impatient) error {
		r, err := m.p.RoundTrip(m.ctx, m.addr, getting("/slow"), &quick)
		require.NoError(t, err)
		m.cancel() // and with that an interrupt is on its way, which may find the next caller
		_, err = readAll(r)
		require.NoError(t, err)
		return context.Canceled
	}, false},
	{"when all is over", func(t *testing.T, m *impatient) error {
		err := testutil.Soon(t, m.begin(getting("/good")), "its end")
		require.NoError(t, err)
		m.cancel()
		return context.Canceled
	}, true},
}

// Whenever the cancel comes, the link is closed or given back, and never both:
// put panics at a second time, and the permits add up.
func TestCancelAtEachMomentClosesOrReturnsTheLink(t *testing.T) {
	t.Parallel()
	for _, at := range moments {
		t.Run(at.name, func(t *testing.T) {
			t.Parallel()
			m := newImpatient(t)

			err := at.call(t, m)

			assert.ErrorIs(t, err, context.Canceled)
			b := m.p.Stats().Of(m.addr)
			assert.Zero(t, b.Leased, "house rule: a call that ends gives its link back, or closes it. client.go, close; retry.go, roundTrip")
			assert.Zero(t, b.Waiting)
			assert.Equal(t, at.kept, b.Idle == 1, "is the link of use still? idle: %d", b.Idle)
			_, body, err := asked(m.p, m.addr, getting("/good"))
			require.NoError(t, err, "the next caller suffers for it")
			assert.Equal(t, "hello", body)
		})
	}
}

// A cancel that comes when the call is over must not hit the next one, which
// has the same link (Go #41600).
func TestLateCancelDoesNotHitTheNextCall(t *testing.T) {
	t.Parallel()
	s := testutil.Answering(t, func(_ int, r *http.Request) string {
		if r.URL.Path == "/slow" {
			time.Sleep(socket.Tick + socket.Tick/2) // a slow handler: for longer than a context goes unwatched
		}
		return testutil.Saying("hello")
	})
	p := small(t, 1)
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := p.RoundTrip(ctx, s.Addr, getting("/slow"), &quick)
		require.NoError(t, err)
		_, err = readAll(r)
		require.NoError(t, err)

		go cancel() // while the next call is under way
		_, body, err := asked(p, s.Addr, getting("/"))

		require.NoError(t, err, "house rule: a cancel is for its own call. client.go, detach")
		require.Equal(t, "hello", body)
	}
	assert.Equal(t, 1, s.Accepted(), "nor does it cost a connection")
}
