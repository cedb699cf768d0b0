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

// A hand is a clock that a test turns.
type hand struct {
	mu  sync.Mutex
	now time.Time
}

func (h *hand) turn(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

func (h *hand) read() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// clocked gives p a clock of the test's.
func clocked(p *Pool) *hand {
	h := &hand{now: time.Unix(1e9, 0)}
	p.Now = h.read
	return h
}

// seen waits until the kernel has told l that its server has closed.
func seen(t testing.TB, l *Lease) {
	t.Helper()
	testutil.Eventually(t, "the server's FIN has come", func() bool {
		n, _, err := unix.Recvfrom(l.Fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return n == 0 && err == nil
	})
}

func TestOneConnectionIsEnoughForOneCallerAtATime(t *testing.T) {
	t.Parallel()
	s, p := testutil.Polite(t), small(t, 4)

	for range 100 {
		_, body, err := asked(p, s.Addr, getting("/"))
		require.NoError(t, err)
		require.Equal(t, "hello", body)
	}

	assert.Equal(t, 1, s.Accepted())
	assert.EqualValues(t, 99, p.Stats().Of(s.Addr).Reused)
}

func TestNoMoreConnectionsThanAllowed(t *testing.T) {
	t.Parallel()
	s, p := testutil.Polite(t), small(t, 3)
	var group sync.WaitGroup

	for range 32 {
		group.Go(func() {
			for range 20 {
				if _, body, err := asked(p, s.Addr, getting("/")); err != nil || body != "hello" {
					t.Error(body, err)
				}
			}
		})
	}
	testutil.Finish(t, &group, "all goroutines of the test end")

	assert.LessOrEqual(t, s.Accepted(), 3)
	assert.Equal(t, 0, p.Stats().Of(s.Addr).Leased)
}

func TestTheLinkUsedLastIsUsedFirst(t *testing.T) {
	t.Parallel()
	s, p := testutil.Polite(t), small(t, 2)
	first, err := p.Get(t.Context(), s.Addr, &quick)
	require.NoError(t, err)
	second, err := p.Get(t.Context(), s.Addr, &quick)
	require.NoError(t, err)

	p.put(first, true)
	p.put(second, true)

	l, err := p.Get(t.Context(), s.Addr, &quick)
	require.NoError(t, err)
	assert.Same(t, second, l, "house rule: LIFO, so that what is not needed grows old and goes. pool.go, take")
	p.put(l, true)
}

func TestWaitersAreServedInTheirOrder(t *testing.T) {
	t.Parallel()
	s, p := testutil.Polite(t), small(t, 1)
	l, err := p.Get(t.Context(), s.Addr, &quick)
	require.NoError(t, err)
	served := make(chan int, 10)
	for i := range 10 {
		go func() {
			l, err := p.Get(context.Background(), s.Addr, &quick)
			if err == nil {
				served <- i
				p.put(l, true)
			}
		}()
		testutil.Eventually(t, "it waits", func() bool { return p.Stats().Of(s.Addr).Waiting == i+1 })
	}

	p.put(l, true)

	for i := range 10 {
		assert.Equal(t, i, testutil.Soon(t, served, "the next waiter is served"))
	}
}

// A waiter must not starve for a connection that another backend does not use.
func TestIdleLinkOfAnotherBackendMakesRoom(t *testing.T) {
	t.Parallel()
	a, b, p := testutil.Polite(t), testutil.Polite(t), small(t, 1)
	p.Limits.Wait = 50 * time.Millisecond
	_, _, err := asked(p, a.Addr, getting("/"))
	require.NoError(t, err)

	_, _, err = asked(p, b.Addr, getting("/"))

	require.NoError(t, err)
	assert.EqualValues(t, 1, p.Stats().Of(a.Addr).Displaced)
	assert.Equal(t, 1, p.Stats().Permits)
}

func TestFailedConnectGivesItsPermitBack(t *testing.T) {
	t.Parallel()
	s := testutil.Serve(t, func(*net.TCPConn, int) {})
	p := small(t, 2)
	p.Limits.Wait = 50 * time.Millisecond
	nobody := testutil.FreeAddr(t)

	for range 10 {
		_, err := p.Get(t.Context(), nobody, &quick)
		require.ErrorIs(t, err, client.ErrRefused, "after failed connects the backend is dead for ever: a permit was lost with each. pool.go, fresh")
	}

	assert.Zero(t, p.Stats().Permits)
	_, err := p.Get(t.Context(), s.Addr, &quick)
	assert.NoError(t, err)
}

func TestWaiterGoesOnWhenAnotherFailsToConnect(t *testing.T) {
	t.Parallel()
	p := small(t, 1)
	dials := make(chan error)
	p.Dial = func(context.Context, string, time.Duration) (*client.Link, error) { return nil, <-dials }
	failed := make(chan error, 2)
	for i := range 2 {
		go func() {
			_, err := p.Get(context.Background(), "x", &quick)
			failed <- err
		}()
		testutil.Eventually(t, "both are at it", func() bool { return p.Stats().Of("x").Leased+p.Stats().Of("x").Waiting == i+1 })
	}

	for range 2 {
		testutil.Give(t, dials, error(client.ErrRefused), "a dial")
		assert.ErrorIs(t, testutil.Soon(t, failed, "the call whose dial has failed"), client.ErrRefused)
	}
}

// naphi and others let a waiter who leaves take a connection with him.
func TestWaiterWhoLeavesSwallowsNothing(t *testing.T) {
	t.Parallel()
	s, p := testutil.Polite(t), small(t, 2)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 100 {
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(time.Duration((i*31+j*17)%200)*time.Microsecond, cancel)
				if l, err := p.Get(ctx, s.Addr, &quick); err == nil {
					p.put(l, true)
				}
				cancel()
			}
		})
	}
	testutil.Finish(t, &group, "all goroutines of the test end")

	b := p.Stats().Of(s.Addr)
	assert.Zero(t, b.Leased, "house rule: delivery and cancel are one decision, and whoever was delivered to has it. waiters.go, withdraw")
	assert.Zero(t, b.Waiting)
	assert.Equal(t, b.Idle, p.Stats().Permits)
}

func TestWaitHasALimit(t *testing.T) {
	t.Parallel()
	s, p := testutil.Polite(t), small(t, 1)
	p.Limits.Wait = 20 * time.Millisecond
	l, err := p.Get(t.Context(), s.Addr, &quick)
	require.NoError(t, err)

	_, err = p.Get(t.Context(), s.Addr, &quick)

	assert.ErrorIs(t, err, ErrWaitTimeout)
	p.put(l, true)
	assert.EqualValues(t, 1, p.Stats().Of(s.Addr).GaveUp)
}

func TestIdleLinksGoAfterTheirTime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer     string
		stays, not time.Duration
	}{
		"as we say":          {testutil.Saying("x"), 3900 * time.Millisecond, 4 * time.Second},
		"as the server says": {"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=3, max=100\r\nContent-Length: 0\r\n\r\n", 2200 * time.Millisecond, 2250 * time.Millisecond},
		"a short time":       {"HTTP/1.1 200 OK\r\nKeep-Alive: max=9, Timeout=1\r\nContent-Length: 0\r\n\r\n", 700 * time.Millisecond, 750 * time.Millisecond},
		"a long time":        {"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=600\r\nContent-Length: 0\r\n\r\n", 3900 * time.Millisecond, 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := testutil.Answering(t, func(int, *http.Request) string { return c.answer })
			p := small(t, 1)
			p.Limits.Idle = 4 * time.Second
			clock := clocked(p)
			ask := func() int {
				_, _, err := asked(p, s.Addr, getting("/"))
				require.NoError(t, err)
				return s.Accepted()
			}

			require.Equal(t, 1, ask())
			clock.turn(c.stays)
			assert.Equal(t, 1, ask(), "after %v it is the same connection", c.stays)
			clock.turn(c.not)
			assert.Equal(t, 2, ask(), "house rule: we go before the server does; after %v it is another one. pool.go, expiry", c.not)
			clock.turn(c.not)
			p.evict()
			assert.Zero(t, p.Stats().Permits)
		})
	}
}

func TestNoLinkLivesForEver(t *testing.T) {
	t.Parallel()
	s, p := testutil.Polite(t), small(t, 1)
	p.Limits.Idle, p.Limits.Life = time.Minute, 10*time.Minute
	clock := clocked(p)

	for range 40 { // 20 minutes, and always in use
		_, _, err := asked(p, s.Addr, getting("/"))
		require.NoError(t, err)
		clock.turn(30 * time.Second)
	}

	assert.Equal(t, 2, s.Accepted())
}

// naphi's evictor closed what somebody was using.
func TestEvictorDoesNotTouchALinkInUse(t *testing.T) {
	t.Parallel()
	s, p := testutil.Polite(t), small(t, 2)
	p.Limits.Idle, p.Limits.Life = time.Second, time.Second
	clock := clocked(p)
	l, err := p.Get(t.Context(), s.Addr, &quick)
	require.NoError(t, err)

	clock.turn(time.Hour)
	p.evict()

	r, err := l.RoundTrip(t.Context(), getting("/"), &quick, time.Time{})
	require.NoError(t, err, "house rule: a leased link is its holder's. upkeep.go, evict")
	readAll(r)
	assert.Zero(t, p.Stats().Permits, "it goes when it comes back")
}

func TestEvictorFindsTheDead(t *testing.T) {
	t.Parallel()
	s, p := testutil.Polite(t), small(t, 2)
	_, _, err := asked(p, s.Addr, getting("/"))
	require.NoError(t, err)

	s.CloseAll()

	testutil.Eventually(t, "the evictor has seen it", func() bool { p.evict(); return p.Stats().Permits == 0 })
	assert.EqualValues(t, 1, p.Stats().Of(s.Addr).Stale)
}

func TestDropAllReachesEveryLink(t *testing.T) {
	t.Parallel()
	s, p := testutil.Polite(t), small(t, 3)
	idle, err := p.Get(t.Context(), s.Addr, &quick)
	require.NoError(t, err)
	leased, err := p.Get(t.Context(), s.Addr, &quick)
	require.NoError(t, err)
	p.put(idle, true)
	dial, dialling := make(chan bool), make(chan *Lease)
	p.Dial = func(ctx context.Context, addr string, timeout time.Duration) (*client.Link, error) {
		<-dial
		return client.DialLink(ctx, addr, timeout)
	}
	again, err := p.Get(t.Context(), s.Addr, &quick) // the idle one
	require.NoError(t, err)
	go func() {
		l, _ := p.Get(context.Background(), s.Addr, &quick)
		dialling <- l
	}()
	testutil.Eventually(t, "one is being dialled", func() bool { return p.Stats().Of(s.Addr).Leased == 3 })
	p.put(again, true)

	assert.Equal(t, 1, p.DropAll(s.Addr), "one was idle")
	assert.Equal(t, 2, p.Stats().Permits, "and is gone")

	close(dial)
	p.put(leased, true)
	p.put(testutil.Soon(t, dialling, "the new connection"), true)
	assert.Zero(t, p.Stats().Permits, "the others die when they come back. upkeep.go, dropAll")
	assert.EqualValues(t, 3, p.Stats().Of(s.Addr).Dropped)
}

func TestCloseFailsEveryWaiter(t *testing.T) {
	t.Parallel()
	s, p := testutil.Polite(t), small(t, 1)
	l, err := p.Get(t.Context(), s.Addr, &quick)
	require.NoError(t, err)
	failed := make(chan error, 5)
	for range 5 {
		go func() {
			_, err := p.Get(context.Background(), s.Addr, &quick)
			failed <- err
		}()
	}
	testutil.Eventually(t, "five wait", func() bool { return p.Stats().Of(s.Addr).Waiting == 5 })

	p.Close()

	for range 5 {
		assert.ErrorIs(t, testutil.Soon(t, failed, "a waiter is told that the pool is closed"), ErrPoolClosed)
	}
	_, err = p.Get(t.Context(), s.Addr, &quick)
	assert.ErrorIs(t, err, ErrPoolClosed)
	p.put(l, true)
	assert.Zero(t, p.Stats().Permits)
}

func TestLinksThatAreGivenBackTwiceAreAPanic(t *testing.T) {
	t.Parallel()
	s, p := testutil.Polite(t), small(t, 1)
	l, err := p.Get(t.Context(), s.Addr, &quick)
	require.NoError(t, err)
	p.put(l, true)

	assert.Panics(t, func() { p.put(l, true) })
}

// A body that nobody read is read by the next caller, as his answer.
func TestUnreadBodyIsNotTheNextAnswer(t *testing.T) {
	t.Parallel()
	long := make([]byte, 1<<20)
	for name, c := range map[string]struct {
		body string
		idle int
	}{
		"that is here":     {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1},
		"that is too long": {string(long), 0},
	} {
		s := testutil.Answering(t, func(_ int, r *http.Request) string {
			if r.URL.Path == "/left" {
				return testutil.Saying(c.body)
			}
			return testutil.Saying("hello")
		})
		p := small(t, 1)
		r, err := p.RoundTrip(t.Context(), s.Addr, getting("/left"), &quick)
		require.NoError(t, err)

		r.Close()

		assert.Equal(t, c.idle, p.Stats().Of(s.Addr).Idle, "house rule: drain what is left of a body, if it is here, or close; this was one %s. client.go, drained", name)
		_, body, err := asked(p, s.Addr, getting("/"))
		require.NoError(t, err, name)
		assert.Equal(t, "hello", body, "house rule: drain what is left of a body, or close. A body %s became the next answer. client.go, drained", name)
	}
}

// What comes while nobody has asked: a 408 for the idle, a wrong count, an
// attack. Only empty lines are forgiven.
func TestBytesThatNobodyAskedForEndTheConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bytes       string
		connections int
	}{
		"an answer":     {testutil.Saying("INJECTED"), 2},
		"a 408":         {"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", 2},
		"one byte":      {"x", 2},
		"half a line":   {"\r", 2},
		"an empty line": {"\r\n", 1},
		"empty lines":   {"\r\n\r\n", 1},
	} {
		idle := make(chan bool)
		s := testutil.Serve(t, func(conn *net.TCPConn, _ int) {
			in := make([]byte, 4<<10)
			for first := true; ; first = false {
				if _, err := conn.Read(in); err != nil {
					return
				}
				io.WriteString(conn, testutil.Saying("mine"))
				if first {
					select {
					case <-idle:
						io.WriteString(conn, c.bytes)
					case <-t.Context().Done():
					}
				}
			}
		})
		p := small(t, 1)
		l, err := p.Get(t.Context(), s.Addr, &quick)
		require.NoError(t, err)
		a, err := l.RoundTrip(t.Context(), getting("/"), &quick, time.Time{})
		require.NoError(t, err)
		readAll(a)
		testutil.Give(t, idle, true, "the server has answered")
		testutil.Eventually(t, "the bytes have come", func() bool {
			n, _, _ := unix.Recvfrom(l.Fd, make([]byte, 10), unix.MSG_PEEK|unix.MSG_DONTWAIT)
			return n == min(len(c.bytes), 10)
		})

		close(idle) // a second connection has nothing to wait for
		_, body, err := asked(p, s.Addr, getting("/"))

		require.NoError(t, err, name)
		assert.Equal(t, "mine", body, "MUST, RFC 9112 §9.2: %s became the answer to the next call. client.go, check", name)
		assert.Equal(t, c.connections, s.Accepted(), name)
	}
}

// Some of what nobody asked for cannot be told from an answer. So who has sent
// it once is not given a second chance for a while.
func TestServerThatSpokeUnaskedIsNotTrustedForAWhile(t *testing.T) {
	t.Parallel()
	poison := make(chan bool, 1)
	s := testutil.Answering(t, func(int, *http.Request) string {
		select {
		case <-poison:
			return testutil.Saying("hello") + testutil.Saying("INJECTED")
		default:
			return testutil.Saying("hello")
		}
	})
	p := small(t, 3)
	p.Limits.Wary = 10 * time.Second
	clock := clocked(p)
	ask := func() int {
		_, body, err := asked(p, s.Addr, getting("/"))
		require.NoError(t, err)
		require.Equal(t, "hello", body)
		return s.Accepted()
	}
	inUse, err := p.Get(t.Context(), s.Addr, &quick)
	require.NoError(t, err)
	require.Equal(t, 2, ask())
	require.Equal(t, 2, ask(), "it is trusted, and its connection used again")

	poison <- true
	require.Equal(t, 2, ask())

	const rule = "house rule: when a server has sent what nobody asked for, keep none of its connections. pool.go, distrust"
	p.put(inUse, true)
	assert.Zero(t, p.Stats().Permits, rule)
	assert.Equal(t, []int{3, 4, 5}, []int{ask(), ask(), ask()}, rule)
	clock.turn(10 * time.Second)
	assert.Equal(t, []int{6, 6}, []int{ask(), ask()}, "and then it is given another chance")
}

// A server that counts its bytes wrong must cost itself a connection and nobody
// an answer. The bytes too many come with the answer, so that they are here when
// it is: of those that come when the next call is on its way nobody can say
// whether they are the answer to it. The pool is not wary here, or it would use
// no connection again.
func TestNoAnswerIsEverSomebodyElses(t *testing.T) {
	t.Parallel()
	const callers, each = 64, 320
	poison := "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nINJECTED"
	var n atomic.Int64
	s := testutil.Serve(t, func(c *net.TCPConn, _ int) {
		in := make([]byte, 4<<10)
		for {
			got, err := c.Read(in)
			if err != nil {
				return
			}
			target := string(in[5:got])
			target = target[:len(target)-len(" HTTP/1.1\r\nHost: socket.up\r\n\r\n")]
			answer := testutil.Saying(target)
			if n.Add(1)%5 == 0 {
				answer += poison
			}
			io.WriteString(c, answer)
		}
	})
	p := small(t, 32)
	var group sync.WaitGroup
	var wrong atomic.Int64
	for i := range callers {
		group.Go(func() {
			for j := range each {
				want := "caller" + string(rune('A'+i%26)) + time.Duration(i*each+j).String()
				_, body, err := asked(p, s.Addr, getting("/"+want))
				if err != nil {
					t.Error(err)
				} else if body != want {
					wrong.Add(1)
				}
			}
		})
	}
	testutil.Finish(t, &group, "all goroutines of the test end")

	assert.Zero(t, wrong.Load(), "of %d answers were given to a caller who had not asked for them. MUST, RFC 9112 §9.2. client.go, check", callers*each)
	assert.NotZero(t, p.Stats().Of(s.Addr).Unsolicited)
}
