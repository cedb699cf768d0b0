package pool

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/internal/testutil"
)

const ruleShare = "house rule: who takes from what all share leaves at least as much as it has. share.go, fits"

// hasPermit looks at what was delivered to w without taking it.
func (m *poolModel) hasPermit(w *waiter) bool {
	g := <-w.ready
	w.ready <- g
	return g.err == nil
}

// holders calls f for all that have a permit, by what the model has in its own hands.
func (m *poolModel) holders(f func(b *backend, h holder, number uint64)) {
	for _, l := range m.leased {
		f(l.backend, l.holder, m.numbers[l])
	}
	for _, d := range m.dialling {
		f(d.b, d.g.holder, d.number)
	}
	for _, w := range m.waiters {
		if !w.queued && m.hasPermit(w) {
			f(w.backend, w.holder, w.number)
		}
	}
}

// checkShares looks at what clients have: by addition, and against the bounds that share.go states.
func (m *poolModel) checkShares() {
	type at struct {
		who any
		b   *backend
	}
	has, all := map[at]int{}, map[*account]int{}
	m.holders(func(b *backend, h holder, _ uint64) {
		has[at{h.client, b}]++
		has[at{h.line, b}]++
		all[h.client]++
	})
	limits := &m.p.Limits
	scarce := len(m.p.backendList)*limits.PerBackend > limits.Total
	for _, c := range m.p.clients {
		m.require(c.held == all[c], "a client has %d permits, and %d are counted", all[c], c.held)
		m.require(c.held <= half(limits.Total), "a client has %d permits of %d: %s", c.held, limits.Total, ruleShare)
		for _, s := range c.shares {
			m.require(s.held == has[at{c, s.backend}], "%s: a client has %d permits, and %d are counted", s.backend.addr, has[at{c, s.backend}], s.held)
			m.require(s.held <= half(limits.PerBackend), "%s: a client has %d of %d: %s", s.backend.addr, s.held, limits.PerBackend, ruleShare)
			m.require(limits.Queue == 0 || s.waiting <= half(limits.Queue), "%s: a client has %d places of %d: %s", s.backend.addr, s.waiting, limits.Queue, ruleShare)
		}
	}
	for _, l := range m.lines {
		for _, s := range l.shares {
			m.require(s.held == has[at{l, s.backend}], "%s: a line has %d permits, and %d are counted", s.backend.addr, has[at{l, s.backend}], s.held)
			m.require(limits.OneClient || s.held <= half(half(limits.PerBackend)), "%s: a line has %d of %d: %s", s.backend.addr, s.held, limits.PerBackend, ruleShare)
		}
	}
	for _, b := range m.p.backendList {
		m.require(!scarce || b.inUse <= half(limits.Total) || len(m.p.backendList) == 1, "%s: it has %d of %d: %s", b.addr, b.inUse, limits.Total, ruleShare)
		m.require(limits.Queue == 0 || b.queue.length <= limits.Queue, "%s: %d wait, of %d", b.addr, b.queue.length, limits.Queue)
		for w := b.queue.first; w != nil; w = w.next {
			m.require(w.prev == nil || w.prev.ticket < w.ticket, "%s: the queue is not in order", b.addr)
			free := b.inUse < limits.PerBackend && m.p.inUse < limits.Total && (!scarce || b.inUse < limits.Total-m.p.inUse)
			if free && w.client != nil {
				mine := has[at{w.client, b}]
				free = mine < limits.PerBackend-b.inUse && all[w.client] < limits.Total-m.p.inUse &&
					has[at{w.line, b}] < half(limits.PerBackend)-mine
			}
			m.require(!free, "%s: a caller waits although he could have a link", b.addr)
		}
	}
}

// checkLines looks at the law of line.go.
func (m *poolModel) checkLines() {
	heads, oldest := map[*Line]int{}, map[*Line]uint64{}
	for _, w := range m.waiters {
		if w.queued && w.line != nil {
			if w.line.head == w {
				heads[w.line]++
			}
			if n := oldest[w.line]; n == 0 || w.number < n {
				oldest[w.line] = w.number
			}
			m.require(w.line.newest.Load() >= w.number, "request %d of a line waits, and %d is said to be the newest", w.number, w.line.newest.Load())
		}
	}
	for l, n := range oldest {
		m.require(heads[l] == 1 && l.head.number == n, "the head of a line is not its oldest that waits")
	}
	m.holders(func(b *backend, h holder, number uint64) {
		n := oldest[h.line]
		m.require(h.line == nil || n == 0 || number < n, "%s: request %d of a line has a permit, and %d before it waits for one", b.addr, number, n)
	})
}

func TestLeaveAsMuch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ most, clients, left int }{
		{64, 1, 32}, {64, 2, 16}, {64, 3, 8}, {64, 6, 1}, {64, 7, 0}, {32, 1, 16}, {5, 1, 2}, {2, 1, 1}, {1, 1, 0},
	} {
		out := 0
		for range c.clients {
			has := 0
			for fits(has, out, c.most) {
				has++
				out++
			}
			assert.LessOrEqual(t, has, half(c.most), ruleShare)
		}
		assert.Equal(t, c.left, c.most-out, "%d clients, one after the other, of %d. %s", c.clients, c.most, ruleShare)
	}
}

// newSharedPool is a pool whose connections lead nowhere.
func newSharedPool(t *testing.T, l Limits) *Pool {
	m := newPoolModel(t, func(n int) int { return n - 1 })
	l.MaxWait, l.IdleTime, l.Lifetime = testutil.MaxWait, time.Hour, time.Hour
	m.p.Limits = l
	t.Cleanup(func() { m.p.Close(); m.end() })
	return m.p
}

// take asks for n connections, and returns those that are granted at once. What must wait gives up.
func takeNow(t *testing.T, p *Pool, n int, addr string, who netip.Addr, line func() *Line) (got []*Lease) {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	for range n {
		at := p.Reserve(addr, who, line())
		ctx := t.Context()
		if at.waiter != nil {
			ctx = now
		}
		if l, err := p.Claim(ctx, at, &testTimeouts); err == nil {
			got = append(got, l)
		}
	}
	return got
}

func giveBack(all []*Lease) {
	for _, l := range all {
		l.Return(true)
	}
}

func TestOneClientLeavesHalf(t *testing.T) {
	t.Parallel()
	p := newSharedPool(t, Limits{PerBackend: 64, Total: 512})
	greedy, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	one := &Line{}

	pipelined := takeNow(t, p, 100, "x", greedy, func() *Line { return one })
	rest := takeNow(t, p, 100, "x", greedy, func() *Line { return &Line{} })
	second := takeNow(t, p, 100, "x", other, func() *Line { return nil })

	assert.Len(t, pipelined, 16, "one connection of a client leaves as much for its others. %s", ruleShare)
	assert.Len(t, rest, 16, "one client has half. %s", ruleShare)
	assert.Len(t, second, 16, "another one half of what is left. %s", ruleShare)
	giveBack(append(append(pipelined, rest...), second...))
}

func TestIPv6ClientIsItsNetwork(t *testing.T) {
	t.Parallel()
	p := newSharedPool(t, Limits{PerBackend: 8, Total: 8})
	var got []*Lease
	for i := range 20 {
		got = append(got, takeNow(t, p, 1, "x", netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i)), func() *Line { return nil })...)
	}

	assert.Len(t, got, 4, "addresses of one /64 are one client. share.go, clientOf")
	assert.Equal(t, clientOf(netip.MustParseAddr("::ffff:192.0.2.1")), netip.MustParseAddr("192.0.2.1"))
	giveBack(got)
}

func TestOneClientMayHaveAllIfItIsTheOnlyOne(t *testing.T) {
	t.Parallel()
	p := newSharedPool(t, Limits{PerBackend: 4, Total: 4, OneClient: true})
	line := &Line{}

	got := takeNow(t, p, 9, "x", modelClient[0], func() *Line { return line })

	assert.Len(t, got, 4, "-one-client")
	giveBack(got)
}

func TestSlowBackendLeavesPermits(t *testing.T) {
	t.Parallel()
	p := newSharedPool(t, Limits{PerBackend: 8, Total: 10})
	anyone := func() *Line { return nil }
	giveBack(takeNow(t, p, 1, "quick", netip.Addr{}, anyone))

	slow := takeNow(t, p, 20, "slow", netip.Addr{}, anyone)
	quick := takeNow(t, p, 20, "quick", netip.Addr{}, anyone)

	assert.Len(t, slow, 5, ruleShare)
	assert.NotEmpty(t, quick, "a slow backend's permits keep others from a quick one. %s", ruleShare)
	giveBack(append(slow, quick...))
}

func TestFullQueueFailsAtOnce(t *testing.T) {
	t.Parallel()
	p := newSharedPool(t, Limits{PerBackend: 2, Total: 2, Queue: 8})
	greedy, other := modelClient[0], modelClient[1]
	held := takeNow(t, p, 2, "x", netip.Addr{}, func() *Line { return nil })
	var waiting []Reservation
	for range 4 {
		waiting = append(waiting, p.Reserve("x", greedy, &Line{}))
	}

	at := p.Reserve("x", greedy, &Line{})
	_, err := p.Claim(t.Context(), at, &testTimeouts)
	left := p.Reserve("x", other, &Line{})

	require.Nil(t, at.waiter, "a client that has half of the queue gets no more of it: %s", ruleShare)
	assert.ErrorIs(t, err, ErrQueueFull, "who finds no room is told so, and does not wait")
	assert.EqualValues(t, 1, p.Stats().Backend("x").TurnedAway)
	assert.NotNil(t, left.waiter, "there is room for others. %s", ruleShare)
	giveBack(held)
	for _, at := range append(waiting, left) {
		l, err := p.Claim(t.Context(), at, &testTimeouts)
		require.NoError(t, err)
		l.Return(true)
	}
}

// A pipeline of any depth has one place in the queue, and is served in its order.
func TestLineHasOnePlaceInTheQueue(t *testing.T) {
	t.Parallel()
	p := newSharedPool(t, Limits{PerBackend: 1, Total: 2, Queue: 2})
	held := takeNow(t, p, 1, "x", netip.Addr{}, func() *Line { return nil })
	line := &Line{}
	var all []Reservation
	for range 20 {
		all = append(all, p.Reserve("x", modelClient[0], line))
	}
	free := p.Reserve("y", modelClient[0], line)

	assert.Equal(t, 1, p.backends["x"].queue.length, "only the head of a line waits in the pool's queue. line.go")
	assert.NotNil(t, free.waiter, "a request takes a permit only when all before it in its line have had theirs. line.go")
	giveBack(held)
	for _, at := range append(all, free) {
		l, err := p.Claim(t.Context(), at, &testTimeouts)
		require.NoError(t, err)
		l.Return(true)
	}
}

// A client at its share has its own engines give back what they have, and nobody else's:
// those could not help it.
func TestOnlyWhatHelpsIsAskedBack(t *testing.T) {
	t.Parallel()
	p := newSharedPool(t, Limits{PerBackend: 8, Total: 16})
	own := takeNow(t, p, 4, "x", modelClient[0], func() *Line { return &Line{} })
	others := takeNow(t, p, 2, "x", modelClient[1], func() *Line { return &Line{} })
	at := p.Reserve("x", modelClient[0], &Line{})

	assert.True(t, own[0].ShouldReturn(), "share.go, noteWanted")
	assert.False(t, others[0].ShouldReturn(), "share.go, noteWanted")

	giveBack(own)
	l, err := p.Claim(t.Context(), at, &testTimeouts)
	require.NoError(t, err)
	assert.False(t, others[0].ShouldReturn(), "nobody waits any more")
	giveBack(append(others, l))
}

// Who exchanges a connection keeps its permit, though it could not have another one.
func TestRedialKeepsItsPermit(t *testing.T) {
	t.Parallel()
	s := testutil.ServeCanned(t)
	p := New(Limits{PerBackend: 4, Total: 4, MaxWait: testutil.MaxWait, IdleTime: time.Hour, Lifetime: time.Hour})
	defer p.Close()
	var got []*Lease
	for range 2 {
		l, err := p.Claim(t.Context(), p.Reserve(s, modelClient[0], &Line{}), &testTimeouts)
		require.NoError(t, err)
		got = append(got, l)
	}
	at := p.Reserve(s, modelClient[0], &Line{})
	require.NotNil(t, at.waiter, "the client has its share")

	fresh, err := got[0].Redial(t.Context(), true, &testTimeouts)

	require.NoError(t, err)
	assert.Equal(t, 2, p.inUse, "it has the permit that it had")
	assert.Empty(t, at.waiter.ready, "nobody else got it")
	giveBack([]*Lease{fresh, got[1]})
	l, err := p.Claim(t.Context(), at, &testTimeouts)
	require.NoError(t, err)
	giveBack([]*Lease{l})
	assert.Zero(t, p.inUse)
	p.sweepAccounts()
	assert.Empty(t, p.clients, "the client has nothing any more")
}
