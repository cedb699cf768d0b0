package main

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
func clocked(p *pool) *hand {
	h := &hand{now: time.Unix(1e9, 0)}
	p.now = h.read
	return h
}

// seen waits until the kernel has told l that its server has closed.
func seen(t testing.TB, l *lease) {
	t.Helper()
	Eventually(t, "the server's FIN has come", func() bool {
		n, _, err := unix.Recvfrom(l.fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return n == 0 && err == nil
	})
}

func TestOneConnectionIsEnoughForOneCallerAtATime(t *testing.T) {
	t.Parallel()
	s, p := polite(t), small(t, 4)

	for range 100 {
		_, body, err := asked(p, s.addr, getting("/"))
		require.NoError(t, err)
		require.Equal(t, "hello", body)
	}

	assert.Equal(t, 1, s.accepted())
	assert.EqualValues(t, 99, p.stats().of(s.addr).Reused)
}

func TestNoMoreConnectionsThanAllowed(t *testing.T) {
	t.Parallel()
	s, p := polite(t), small(t, 3)
	var group sync.WaitGroup

	for range 32 {
		group.Go(func() {
			for range 20 {
				if _, body, err := asked(p, s.addr, getting("/")); err != nil || body != "hello" {
					t.Error(body, err)
				}
			}
		})
	}
	Finish(t, &group, "all goroutines of the test end")

	assert.LessOrEqual(t, s.accepted(), 3)
	assert.Equal(t, 0, p.stats().of(s.addr).Leased)
}

func TestTheLinkUsedLastIsUsedFirst(t *testing.T) {
	t.Parallel()
	s, p := polite(t), small(t, 2)
	first, err := p.get(t.Context(), s.addr, &quick)
	require.NoError(t, err)
	second, err := p.get(t.Context(), s.addr, &quick)
	require.NoError(t, err)

	p.put(first, true)
	p.put(second, true)

	l, err := p.get(t.Context(), s.addr, &quick)
	require.NoError(t, err)
	assert.Same(t, second, l, "house rule: LIFO, so that what is not needed grows old and goes. pool.go, take")
	p.put(l, true)
}

func TestWaitersAreServedInTheirOrder(t *testing.T) {
	t.Parallel()
	s, p := polite(t), small(t, 1)
	l, err := p.get(t.Context(), s.addr, &quick)
	require.NoError(t, err)
	served := make(chan int, 10)
	for i := range 10 {
		go func() {
			l, err := p.get(context.Background(), s.addr, &quick)
			if err == nil {
				served <- i
				p.put(l, true)
			}
		}()
		Eventually(t, "it waits", func() bool { return p.stats().of(s.addr).Waiting == i+1 })
	}

	p.put(l, true)

	for i := range 10 {
		assert.Equal(t, i, Soon(t, served, "the next waiter is served"))
	}
}

// A waiter must not starve for a connection that another backend does not use.
func TestIdleLinkOfAnotherBackendMakesRoom(t *testing.T) {
	t.Parallel()
	a, b, p := polite(t), polite(t), small(t, 1)
	p.limits.wait = 50 * time.Millisecond
	_, _, err := asked(p, a.addr, getting("/"))
	require.NoError(t, err)

	_, _, err = asked(p, b.addr, getting("/"))

	require.NoError(t, err)
	assert.EqualValues(t, 1, p.stats().of(a.addr).Displaced)
	assert.Equal(t, 1, p.stats().Permits)
}

func TestFailedConnectGivesItsPermitBack(t *testing.T) {
	t.Parallel()
	s := scriptedServer(t, func(*net.TCPConn, int) {})
	p := small(t, 2)
	p.limits.wait = 50 * time.Millisecond
	nobody := freeAddr(t)

	for range 10 {
		_, err := p.get(t.Context(), nobody, &quick)
		require.ErrorIs(t, err, ErrRefused, "after failed connects the backend is dead for ever: a permit was lost with each. pool.go, fresh")
	}

	assert.Zero(t, p.stats().Permits)
	_, err := p.get(t.Context(), s.addr, &quick)
	assert.NoError(t, err)
}

func TestWaiterGoesOnWhenAnotherFailsToConnect(t *testing.T) {
	t.Parallel()
	p := small(t, 1)
	dials := make(chan error)
	p.dial = func(context.Context, string, time.Duration) (*link, error) { return nil, <-dials }
	failed := make(chan error, 2)
	for i := range 2 {
		go func() {
			_, err := p.get(context.Background(), "x", &quick)
			failed <- err
		}()
		Eventually(t, "both are at it", func() bool { return p.stats().of("x").Leased+p.stats().of("x").Waiting == i+1 })
	}

	for range 2 {
		Give(t, dials, error(ErrRefused), "a dial")
		assert.ErrorIs(t, Soon(t, failed, "the call whose dial has failed"), ErrRefused)
	}
}

// naphi and others let a waiter who leaves take a connection with him.
func TestWaiterWhoLeavesSwallowsNothing(t *testing.T) {
	t.Parallel()
	s, p := polite(t), small(t, 2)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 100 {
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(time.Duration((i*31+j*17)%200)*time.Microsecond, cancel)
				if l, err := p.get(ctx, s.addr, &quick); err == nil {
					p.put(l, true)
				}
				cancel()
			}
		})
	}
	Finish(t, &group, "all goroutines of the test end")

	b := p.stats().of(s.addr)
	assert.Zero(t, b.Leased, "house rule: delivery and cancel are one decision, and whoever was delivered to has it. waiters.go, withdraw")
	assert.Zero(t, b.Waiting)
	assert.Equal(t, b.Idle, p.stats().Permits)
}

func TestWaitHasALimit(t *testing.T) {
	t.Parallel()
	s, p := polite(t), small(t, 1)
	p.limits.wait = 20 * time.Millisecond
	l, err := p.get(t.Context(), s.addr, &quick)
	require.NoError(t, err)

	_, err = p.get(t.Context(), s.addr, &quick)

	assert.ErrorIs(t, err, ErrWaitTimeout)
	p.put(l, true)
	assert.EqualValues(t, 1, p.stats().of(s.addr).GaveUp)
}

func TestIdleLinksGoAfterTheirTime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer     string
		stays, not time.Duration
	}{
		"as we say":          {saying("x"), 3900 * time.Millisecond, 4 * time.Second},
		"as the server says": {"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=3, max=100\r\nContent-Length: 0\r\n\r\n", 2200 * time.Millisecond, 2250 * time.Millisecond},
		"a short time":       {"HTTP/1.1 200 OK\r\nKeep-Alive: max=9, Timeout=1\r\nContent-Length: 0\r\n\r\n", 700 * time.Millisecond, 750 * time.Millisecond},
		"a long time":        {"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=600\r\nContent-Length: 0\r\n\r\n", 3900 * time.Millisecond, 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := answering(t, func(int, *http.Request) string { return c.answer })
			p := small(t, 1)
			p.limits.idle = 4 * time.Second
			clock := clocked(p)
			ask := func() int {
				_, _, err := asked(p, s.addr, getting("/"))
				require.NoError(t, err)
				return s.accepted()
			}

			require.Equal(t, 1, ask())
			clock.turn(c.stays)
			assert.Equal(t, 1, ask(), "after %v it is the same connection", c.stays)
			clock.turn(c.not)
			assert.Equal(t, 2, ask(), "house rule: we go before the server does; after %v it is another one. pool.go, expiry", c.not)
			clock.turn(c.not)
			p.evict()
			assert.Zero(t, p.stats().Permits)
		})
	}
}

func TestNoLinkLivesForEver(t *testing.T) {
	t.Parallel()
	s, p := polite(t), small(t, 1)
	p.limits.idle, p.limits.life = time.Minute, 10*time.Minute
	clock := clocked(p)

	for range 40 { // 20 minutes, and always in use
		_, _, err := asked(p, s.addr, getting("/"))
		require.NoError(t, err)
		clock.turn(30 * time.Second)
	}

	assert.Equal(t, 2, s.accepted())
}

// naphi's evictor closed what somebody was using.
func TestEvictorDoesNotTouchALinkInUse(t *testing.T) {
	t.Parallel()
	s, p := polite(t), small(t, 2)
	p.limits.idle, p.limits.life = time.Second, time.Second
	clock := clocked(p)
	l, err := p.get(t.Context(), s.addr, &quick)
	require.NoError(t, err)

	clock.turn(time.Hour)
	p.evict()

	r, err := l.roundTrip(t.Context(), getting("/"), &quick, time.Time{})
	require.NoError(t, err, "house rule: a leased link is its holder's. upkeep.go, evict")
	readAll(r)
	assert.Zero(t, p.stats().Permits, "it goes when it comes back")
}

func TestEvictorFindsTheDead(t *testing.T) {
	t.Parallel()
	s, p := polite(t), small(t, 2)
	_, _, err := asked(p, s.addr, getting("/"))
	require.NoError(t, err)

	s.closeAll()

	Eventually(t, "the evictor has seen it", func() bool { p.evict(); return p.stats().Permits == 0 })
	assert.EqualValues(t, 1, p.stats().of(s.addr).Stale)
}

func TestDropAllReachesEveryLink(t *testing.T) {
	t.Parallel()
	s, p := polite(t), small(t, 3)
	idle, err := p.get(t.Context(), s.addr, &quick)
	require.NoError(t, err)
	leased, err := p.get(t.Context(), s.addr, &quick)
	require.NoError(t, err)
	p.put(idle, true)
	dial, dialling := make(chan bool), make(chan *lease)
	p.dial = func(ctx context.Context, addr string, timeout time.Duration) (*link, error) {
		<-dial
		return dialLink(ctx, addr, timeout)
	}
	again, err := p.get(t.Context(), s.addr, &quick) // the idle one
	require.NoError(t, err)
	go func() {
		l, _ := p.get(context.Background(), s.addr, &quick)
		dialling <- l
	}()
	Eventually(t, "one is being dialled", func() bool { return p.stats().of(s.addr).Leased == 3 })
	p.put(again, true)

	assert.Equal(t, 1, p.dropAll(s.addr), "one was idle")
	assert.Equal(t, 2, p.stats().Permits, "and is gone")

	close(dial)
	p.put(leased, true)
	p.put(Soon(t, dialling, "the new connection"), true)
	assert.Zero(t, p.stats().Permits, "the others die when they come back. upkeep.go, dropAll")
	assert.EqualValues(t, 3, p.stats().of(s.addr).Dropped)
}

func TestCloseFailsEveryWaiter(t *testing.T) {
	t.Parallel()
	s, p := polite(t), small(t, 1)
	l, err := p.get(t.Context(), s.addr, &quick)
	require.NoError(t, err)
	failed := make(chan error, 5)
	for range 5 {
		go func() {
			_, err := p.get(context.Background(), s.addr, &quick)
			failed <- err
		}()
	}
	Eventually(t, "five wait", func() bool { return p.stats().of(s.addr).Waiting == 5 })

	p.close()

	for range 5 {
		assert.ErrorIs(t, Soon(t, failed, "a waiter is told that the pool is closed"), ErrPoolClosed)
	}
	_, err = p.get(t.Context(), s.addr, &quick)
	assert.ErrorIs(t, err, ErrPoolClosed)
	p.put(l, true)
	assert.Zero(t, p.stats().Permits)
}

func TestLinksThatAreGivenBackTwiceAreAPanic(t *testing.T) {
	t.Parallel()
	s, p := polite(t), small(t, 1)
	l, err := p.get(t.Context(), s.addr, &quick)
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
		s := answering(t, func(_ int, r *http.Request) string {
			if r.URL.Path == "/left" {
				return saying(c.body)
			}
			return saying("hello")
		})
		p := small(t, 1)
		r, err := p.roundTrip(t.Context(), s.addr, getting("/left"), &quick)
		require.NoError(t, err)

		r.close()

		assert.Equal(t, c.idle, p.stats().of(s.addr).Idle, "house rule: drain what is left of a body, if it is here, or close; this was one %s. client.go, drained", name)
		_, body, err := asked(p, s.addr, getting("/"))
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
		"an answer":     {saying("INJECTED"), 2},
		"a 408":         {"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", 2},
		"one byte":      {"x", 2},
		"half a line":   {"\r", 2},
		"an empty line": {"\r\n", 1},
		"empty lines":   {"\r\n\r\n", 1},
	} {
		idle := make(chan bool)
		s := scriptedServer(t, func(conn *net.TCPConn, _ int) {
			in := make([]byte, 4<<10)
			for first := true; ; first = false {
				if _, err := conn.Read(in); err != nil {
					return
				}
				io.WriteString(conn, saying("mine"))
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
		l, err := p.get(t.Context(), s.addr, &quick)
		require.NoError(t, err)
		a, err := l.roundTrip(t.Context(), getting("/"), &quick, time.Time{})
		require.NoError(t, err)
		readAll(a)
		Give(t, idle, true, "the server has answered")
		Eventually(t, "the bytes have come", func() bool {
			n, _, _ := unix.Recvfrom(l.fd, make([]byte, 10), unix.MSG_PEEK|unix.MSG_DONTWAIT)
			return n == min(len(c.bytes), 10)
		})

		close(idle) // a second connection has nothing to wait for
		_, body, err := asked(p, s.addr, getting("/"))

		require.NoError(t, err, name)
		assert.Equal(t, "mine", body, "MUST, RFC 9112 §9.2: %s became the answer to the next call. client.go, check", name)
		assert.Equal(t, c.connections, s.accepted(), name)
	}
}

// Some of what nobody asked for cannot be told from an answer. So who has sent
// it once is not given a second chance for a while.
func TestServerThatSpokeUnaskedIsNotTrustedForAWhile(t *testing.T) {
	t.Parallel()
	poison := make(chan bool, 1)
	s := answering(t, func(int, *http.Request) string {
		select {
		case <-poison:
			return saying("hello") + saying("INJECTED")
		default:
			return saying("hello")
		}
	})
	p := small(t, 3)
	p.limits.wary = 10 * time.Second
	clock := clocked(p)
	ask := func() int {
		_, body, err := asked(p, s.addr, getting("/"))
		require.NoError(t, err)
		require.Equal(t, "hello", body)
		return s.accepted()
	}
	inUse, err := p.get(t.Context(), s.addr, &quick)
	require.NoError(t, err)
	require.Equal(t, 2, ask())
	require.Equal(t, 2, ask(), "it is trusted, and its connection used again")

	poison <- true
	require.Equal(t, 2, ask())

	const rule = "house rule: when a server has sent what nobody asked for, keep none of its connections. pool.go, distrust"
	p.put(inUse, true)
	assert.Zero(t, p.stats().Permits, rule)
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
	s := scriptedServer(t, func(c *net.TCPConn, _ int) {
		in := make([]byte, 4<<10)
		for {
			got, err := c.Read(in)
			if err != nil {
				return
			}
			target := string(in[5:got])
			target = target[:len(target)-len(" HTTP/1.1\r\nHost: socket.up\r\n\r\n")]
			answer := saying(target)
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
				_, body, err := asked(p, s.addr, getting("/"+want))
				if err != nil {
					t.Error(err)
				} else if body != want {
					wrong.Add(1)
				}
			}
		})
	}
	Finish(t, &group, "all goroutines of the test end")

	assert.Zero(t, wrong.Load(), "of %d answers were given to a caller who had not asked for them. MUST, RFC 9112 §9.2. client.go, check", callers*each)
	assert.NotZero(t, p.stats().of(s.addr).Unsolicited)
}
