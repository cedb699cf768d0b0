package pool

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/internal/testutil"
)

// A fakeClock is a clock that a test advances.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (h *fakeClock) advance(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

func (h *fakeClock) current() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// useFakeClock makes p use a clock of the test's.
func useFakeClock(p *Pool) *fakeClock {
	h := &fakeClock{now: time.Unix(1e9, 0)}
	p.Now = h.current
	return h
}

// awaitPeerClose waits until the server's FIN has arrived on l.
func awaitPeerClose(t testing.TB, l *Lease) {
	t.Helper()
	testutil.Eventually(t, "the server's FIN has come", func() bool {
		n, _, err := unix.Recvfrom(l.Sysfd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return n == 0 && err == nil
	})
}

func TestSequentialCallersShareOneConnection(t *testing.T) {
	t.Parallel()
	s, p := testutil.ServePolite(t), newSmallPool(t, 4)

	for range 100 {
		_, body, err := poolRoundTrip(p, s.Addr, getRequest("/"))
		require.NoError(t, err)
		require.Equal(t, "hello", body)
	}

	assert.Equal(t, 1, s.Accepted())
	assert.EqualValues(t, 99, p.Stats().Backend(s.Addr).Reused)
}

func TestConnectionLimitIsNeverExceeded(t *testing.T) {
	t.Parallel()
	s, p := testutil.ServePolite(t), newSmallPool(t, 3)
	var group sync.WaitGroup

	for range 32 {
		group.Go(func() {
			for range 20 {
				if _, body, err := poolRoundTrip(p, s.Addr, getRequest("/")); err != nil || body != "hello" {
					t.Error(body, err)
				}
			}
		})
	}
	testutil.WaitGroup(t, &group, "all goroutines of the test end")

	assert.LessOrEqual(t, s.Accepted(), 3)
	assert.Equal(t, 0, p.Stats().Backend(s.Addr).Leased)
}

func TestIdleConnectionsAreReusedLIFO(t *testing.T) {
	t.Parallel()
	s, p := testutil.ServePolite(t), newSmallPool(t, 2)
	first, err := p.Get(t.Context(), s.Addr, &testTimeouts)
	require.NoError(t, err)
	second, err := p.Get(t.Context(), s.Addr, &testTimeouts)
	require.NoError(t, err)

	p.put(first, true)
	p.put(second, true)

	l, err := p.Get(t.Context(), s.Addr, &testTimeouts)
	require.NoError(t, err)
	assert.Same(t, second, l, "house rule: LIFO, so that surplus connections grow old and expire. pool.go, take")
	p.put(l, true)
}

func TestWaitersAreServedFIFO(t *testing.T) {
	t.Parallel()
	s, p := testutil.ServePolite(t), newSmallPool(t, 1)
	l, err := p.Get(t.Context(), s.Addr, &testTimeouts)
	require.NoError(t, err)
	served := make(chan int, 10)
	for i := range 10 {
		go func() {
			l, err := p.Get(context.Background(), s.Addr, &testTimeouts)
			if err == nil {
				served <- i
				p.put(l, true)
			}
		}()
		testutil.Eventually(t, "it waits", func() bool { return p.Stats().Backend(s.Addr).Waiting == i+1 })
	}

	p.put(l, true)

	for i := range 10 {
		assert.Equal(t, i, testutil.Receive(t, served, "the next waiter is served"))
	}
}

// A caller must not starve for a permit that another backend holds idle.
func TestIdleConnectionOfAnotherBackendIsEvicted(t *testing.T) {
	t.Parallel()
	a, b, p := testutil.ServePolite(t), testutil.ServePolite(t), newSmallPool(t, 1)
	p.Limits.MaxWait = 50 * time.Millisecond
	_, _, err := poolRoundTrip(p, a.Addr, getRequest("/"))
	require.NoError(t, err)

	_, _, err = poolRoundTrip(p, b.Addr, getRequest("/"))

	require.NoError(t, err)
	assert.EqualValues(t, 1, p.Stats().Backend(a.Addr).Displaced)
	assert.Equal(t, 1, p.Stats().Permits)
}

func TestFailedDialReleasesItsPermit(t *testing.T) {
	t.Parallel()
	s := testutil.ServeScript(t, func(*net.TCPConn, int) {})
	p := newSmallPool(t, 2)
	p.Limits.MaxWait = 50 * time.Millisecond
	nobody := testutil.FreeAddr(t)

	for range 10 {
		_, err := p.Get(t.Context(), nobody, &testTimeouts)
		require.ErrorIs(t, err, client.ErrRefused, "after failed connects the backend is dead for ever: a permit was lost with each. pool.go, dialPermitted")
	}

	assert.Zero(t, p.Stats().Permits)
	_, err := p.Get(t.Context(), s.Addr, &testTimeouts)
	assert.NoError(t, err)
}

func TestFailedDialWakesTheNextWaiter(t *testing.T) {
	t.Parallel()
	p := newSmallPool(t, 1)
	dials := make(chan error)
	p.Dial = func(context.Context, string, time.Duration) (*client.Conn, error) { return nil, <-dials }
	failed := make(chan error, 2)
	for i := range 2 {
		go func() {
			_, err := p.Get(context.Background(), "x", &testTimeouts)
			failed <- err
		}()
		testutil.Eventually(t, "one dials, the other waits", func() bool { return p.Stats().Backend("x").Leased+p.Stats().Backend("x").Waiting == i+1 })
	}

	for range 2 {
		testutil.Send(t, dials, error(client.ErrRefused), "a dial")
		assert.ErrorIs(t, testutil.Receive(t, failed, "the caller whose dial failed"), client.ErrRefused)
	}
}

// In naphi and other pools a waiter that gives up takes a connection with it.
func TestWaiterThatGivesUpLosesNoConnection(t *testing.T) {
	t.Parallel()
	s, p := testutil.ServePolite(t), newSmallPool(t, 2)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 100 {
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(time.Duration((i*31+j*17)%200)*time.Microsecond, cancel)
				if l, err := p.Get(ctx, s.Addr, &testTimeouts); err == nil {
					p.put(l, true)
				}
				cancel()
			}
		})
	}
	testutil.WaitGroup(t, &group, "all goroutines of the test end")

	b := p.Stats().Backend(s.Addr)
	assert.Zero(t, b.Leased, "house rule: delivery or cancel is one decision, and a caller that was delivered to has the connection. waitqueue.go, giveUp")
	assert.Zero(t, b.Waiting)
	assert.Equal(t, b.Idle, p.Stats().Permits)
}

func TestWaitForAConnectionTimesOut(t *testing.T) {
	t.Parallel()
	s, p := testutil.ServePolite(t), newSmallPool(t, 1)
	p.Limits.MaxWait = 20 * time.Millisecond
	l, err := p.Get(t.Context(), s.Addr, &testTimeouts)
	require.NoError(t, err)

	_, err = p.Get(t.Context(), s.Addr, &testTimeouts)

	assert.ErrorIs(t, err, ErrWaitTimeout)
	p.put(l, true)
	assert.EqualValues(t, 1, p.Stats().Backend(s.Addr).GaveUp)
}

func TestIdleConnectionsExpire(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer     string
		stays, not time.Duration
	}{
		"as we say":          {testutil.Response200("x"), 3900 * time.Millisecond, 4 * time.Second},
		"as the server says": {"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=3, max=100\r\nContent-Length: 0\r\n\r\n", 2200 * time.Millisecond, 2250 * time.Millisecond},
		"a short time":       {"HTTP/1.1 200 OK\r\nKeep-Alive: max=9, Timeout=1\r\nContent-Length: 0\r\n\r\n", 700 * time.Millisecond, 750 * time.Millisecond},
		"a long time":        {"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=600\r\nContent-Length: 0\r\n\r\n", 3900 * time.Millisecond, 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := testutil.ServeResponses(t, func(int, *http.Request) string { return c.answer })
			p := newSmallPool(t, 1)
			p.Limits.IdleTime = 4 * time.Second
			clock := useFakeClock(p)
			ask := func() int {
				_, _, err := poolRoundTrip(p, s.Addr, getRequest("/"))
				require.NoError(t, err)
				return s.Accepted()
			}

			require.Equal(t, 1, ask())
			clock.advance(c.stays)
			assert.Equal(t, 1, ask(), "after %v it is still the same connection", c.stays)
			clock.advance(c.not)
			assert.Equal(t, 2, ask(), "house rule: the pool closes before the server does; after %v it is another connection. limits.go, idleDeadline", c.not)
			clock.advance(c.not)
			p.evict()
			assert.Zero(t, p.Stats().Permits)
		})
	}
}

func TestConnectionsHaveAMaximumLifetime(t *testing.T) {
	t.Parallel()
	s, p := testutil.ServePolite(t), newSmallPool(t, 1)
	p.Limits.IdleTime, p.Limits.Lifetime = time.Minute, 10*time.Minute
	clock := useFakeClock(p)

	for range 40 { // 20 minutes, and never idle for long
		_, _, err := poolRoundTrip(p, s.Addr, getRequest("/"))
		require.NoError(t, err)
		clock.advance(30 * time.Second)
	}

	assert.Equal(t, 2, s.Accepted())
}

// naphi's evictor closed connections in use.
func TestEvictorDoesNotTouchALeasedConnection(t *testing.T) {
	t.Parallel()
	s, p := testutil.ServePolite(t), newSmallPool(t, 2)
	p.Limits.IdleTime, p.Limits.Lifetime = time.Second, time.Second
	clock := useFakeClock(p)
	l, err := p.Get(t.Context(), s.Addr, &testTimeouts)
	require.NoError(t, err)

	clock.advance(time.Hour)
	p.evict()

	r, err := l.RoundTrip(t.Context(), getRequest("/"), &testTimeouts, time.Time{})
	require.NoError(t, err, "house rule: a leased connection belongs to its holder. evictor.go, evict")
	readAll(r)
	assert.Zero(t, p.Stats().Permits, "it is closed when it returns")
}

func TestEvictorFindsDeadConnections(t *testing.T) {
	t.Parallel()
	s, p := testutil.ServePolite(t), newSmallPool(t, 2)
	_, _, err := poolRoundTrip(p, s.Addr, getRequest("/"))
	require.NoError(t, err)

	s.CloseAll()

	testutil.Eventually(t, "the evictor has found the FIN", func() bool { p.evict(); return p.Stats().Permits == 0 })
	assert.EqualValues(t, 1, p.Stats().Backend(s.Addr).Stale)
}

func TestDropAllReachesEveryConnection(t *testing.T) {
	t.Parallel()
	s, p := testutil.ServePolite(t), newSmallPool(t, 3)
	idle, err := p.Get(t.Context(), s.Addr, &testTimeouts)
	require.NoError(t, err)
	leased, err := p.Get(t.Context(), s.Addr, &testTimeouts)
	require.NoError(t, err)
	p.put(idle, true)
	dial, dialling := make(chan bool), make(chan *Lease)
	p.Dial = func(ctx context.Context, addr string, timeout time.Duration) (*client.Conn, error) {
		<-dial
		return client.DialIP(ctx, addr, timeout)
	}
	again, err := p.Get(t.Context(), s.Addr, &testTimeouts) // the idle one
	require.NoError(t, err)
	go func() {
		l, _ := p.Get(context.Background(), s.Addr, &testTimeouts)
		dialling <- l
	}()
	testutil.Eventually(t, "one is being dialled", func() bool { return p.Stats().Backend(s.Addr).Leased == 3 })
	p.put(again, true)

	assert.Equal(t, 1, p.DropAll(s.Addr), "one was idle")
	assert.Equal(t, 2, p.Stats().Permits, "and is closed")

	close(dial)
	p.put(leased, true)
	p.put(testutil.Receive(t, dialling, "the new connection"), true)
	assert.Zero(t, p.Stats().Permits, "the others are closed when they return. evictor.go, DropAll")
	assert.EqualValues(t, 3, p.Stats().Backend(s.Addr).Dropped)
}

func TestCloseFailsEveryWaiter(t *testing.T) {
	t.Parallel()
	s, p := testutil.ServePolite(t), newSmallPool(t, 1)
	l, err := p.Get(t.Context(), s.Addr, &testTimeouts)
	require.NoError(t, err)
	failed := make(chan error, 5)
	for range 5 {
		go func() {
			_, err := p.Get(context.Background(), s.Addr, &testTimeouts)
			failed <- err
		}()
	}
	testutil.Eventually(t, "five wait", func() bool { return p.Stats().Backend(s.Addr).Waiting == 5 })

	p.Close()

	for range 5 {
		assert.ErrorIs(t, testutil.Receive(t, failed, "a waiter is told that the pool is closed"), ErrClosed)
	}
	_, err = p.Get(t.Context(), s.Addr, &testTimeouts)
	assert.ErrorIs(t, err, ErrClosed)
	p.put(l, true)
	assert.Zero(t, p.Stats().Permits)
}

func TestReturningALeaseTwicePanics(t *testing.T) {
	t.Parallel()
	s, p := testutil.ServePolite(t), newSmallPool(t, 1)
	l, err := p.Get(t.Context(), s.Addr, &testTimeouts)
	require.NoError(t, err)
	p.put(l, true)

	assert.Panics(t, func() { p.put(l, true) })
}

// If no caller reads a body, the next caller reads it, as its response.
func TestUnreadBodyIsNotTheNextResponse(t *testing.T) {
	t.Parallel()
	long := make([]byte, 1<<20)
	for name, c := range map[string]struct {
		body string
		idle int
	}{
		"that has arrived": {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1},
		"that is too long": {string(long), 0},
	} {
		s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
			if r.URL.Path == "/left" {
				return testutil.Response200(c.body)
			}
			return testutil.Response200("hello")
		})
		p := newSmallPool(t, 1)
		r, err := p.RoundTrip(t.Context(), s.Addr, getRequest("/left"), &testTimeouts)
		require.NoError(t, err)

		r.Close()

		assert.Equal(t, c.idle, p.Stats().Backend(s.Addr).Idle, "house rule: drain the rest of a body if it has arrived, or close; this was one %s. response.go, drainBuffered", name)
		_, body, err := poolRoundTrip(p, s.Addr, getRequest("/"))
		require.NoError(t, err, name)
		assert.Equal(t, "hello", body, "house rule: drain the rest of a body, or close. A body %s became the next response. response.go, drainBuffered", name)
	}
}

// Bytes between exchanges: a 408 on an idle connection, a wrong length, an
// attack. Only empty lines are allowed.
func TestUnsolicitedBytesCloseTheConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bytes       string
		connections int
	}{
		"an answer":     {testutil.Response200("INJECTED"), 2},
		"a 408":         {"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", 2},
		"one byte":      {"x", 2},
		"half a line":   {"\r", 2},
		"an empty line": {"\r\n", 1},
		"empty lines":   {"\r\n\r\n", 1},
	} {
		idle := make(chan bool)
		s := testutil.ServeScript(t, func(conn *net.TCPConn, _ int) {
			in := make([]byte, 4<<10)
			for first := true; ; first = false {
				if _, err := conn.Read(in); err != nil {
					return
				}
				io.WriteString(conn, testutil.Response200("mine"))
				if first {
					select {
					case <-idle:
						io.WriteString(conn, c.bytes)
					case <-t.Context().Done():
					}
				}
			}
		})
		p := newSmallPool(t, 1)
		l, err := p.Get(t.Context(), s.Addr, &testTimeouts)
		require.NoError(t, err)
		a, err := l.RoundTrip(t.Context(), getRequest("/"), &testTimeouts, time.Time{})
		require.NoError(t, err)
		readAll(a)
		testutil.Send(t, idle, true, "the server has responded")
		testutil.Eventually(t, "the bytes have arrived", func() bool {
			n, _, _ := unix.Recvfrom(l.Sysfd, make([]byte, 10), unix.MSG_PEEK|unix.MSG_DONTWAIT)
			return n == min(len(c.bytes), 10)
		})

		close(idle) // so that a second connection does not wait
		_, body, err := poolRoundTrip(p, s.Addr, getRequest("/"))

		require.NoError(t, err, name)
		assert.Equal(t, "mine", body, "MUST, RFC 9112 §9.2: %s became the response to the next request. conn.go, CheckIdle", name)
		assert.Equal(t, c.connections, s.Accepted(), name)
	}
}

// Some unsolicited bytes cannot be told from a response. So a backend that has sent
// any gets no second chance for a while.
func TestUnsolicitedBytesQuarantineTheBackend(t *testing.T) {
	t.Parallel()
	poison := make(chan bool, 1)
	s := testutil.ServeResponses(t, func(int, *http.Request) string {
		select {
		case <-poison:
			return testutil.Response200("hello") + testutil.Response200("INJECTED")
		default:
			return testutil.Response200("hello")
		}
	})
	p := newSmallPool(t, 3)
	p.Limits.Quarantine = 10 * time.Second
	clock := useFakeClock(p)
	ask := func() int {
		_, body, err := poolRoundTrip(p, s.Addr, getRequest("/"))
		require.NoError(t, err)
		require.Equal(t, "hello", body)
		return s.Accepted()
	}
	inUse, err := p.Get(t.Context(), s.Addr, &testTimeouts)
	require.NoError(t, err)
	require.Equal(t, 2, ask())
	require.Equal(t, 2, ask(), "it is trusted, and its connection reused")

	poison <- true
	require.Equal(t, 2, ask())

	const rule = "house rule: when a server has sent unsolicited bytes, keep none of its connections. quarantine.go, quarantine"
	p.put(inUse, true)
	assert.Zero(t, p.Stats().Permits, rule)
	assert.Equal(t, []int{3, 4, 5}, []int{ask(), ask(), ask()}, rule)
	clock.advance(10 * time.Second)
	assert.Equal(t, []int{6, 6}, []int{ask(), ask()}, "after the quarantine its connections are kept again")
}

// A server that miscounts its bytes costs itself a connection, and no client gets
// a wrong response. The surplus bytes arrive together with the response, so that
// they can be seen in time: if they arrived after the next request was sent, no
// client could tell them from its response. Quarantine is off here, or the pool
// would reuse no connection.
func TestEveryCallerGetsItsOwnResponse(t *testing.T) {
	t.Parallel()
	const callers, each = 64, 320
	poison := "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nINJECTED"
	var n atomic.Int64
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		in := make([]byte, 4<<10)
		for {
			got, err := c.Read(in)
			if err != nil {
				return
			}
			target := string(in[5:got])
			target = target[:len(target)-len(" HTTP/1.1\r\nHost: socket.up\r\n\r\n")]
			answer := testutil.Response200(target)
			if n.Add(1)%5 == 0 {
				answer += poison
			}
			io.WriteString(c, answer)
		}
	})
	p := newSmallPool(t, 32)
	var group sync.WaitGroup
	var wrong atomic.Int64
	for i := range callers {
		group.Go(func() {
			for j := range each {
				want := "caller" + string(rune('A'+i%26)) + time.Duration(i*each+j).String()
				_, body, err := poolRoundTrip(p, s.Addr, getRequest("/"+want))
				if err != nil {
					t.Error(err)
				} else if body != want {
					wrong.Add(1)
				}
			}
		})
	}
	testutil.WaitGroup(t, &group, "all goroutines of the test end")

	assert.Zero(t, wrong.Load(), "of %d answers were given to a caller who had not asked for them. MUST, RFC 9112 §9.2. conn.go, CheckIdle", callers*each)
	assert.NotZero(t, p.Stats().Backend(s.Addr).Unsolicited)
}
