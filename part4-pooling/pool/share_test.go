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

const ruleShare = "house rule: a client that takes from a shared resource leaves at least as much as it has. share.go, fits"

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

// newSharedPool returns a pool whose connections lead nowhere.
func newSharedPool(t *testing.T, l Limits) *Pool {
	m := newPoolModel(t, func(n int) int { return n - 1 })
	l.MaxWait, l.IdleTime, l.Lifetime = testutil.MaxWait, time.Hour, time.Hour
	m.p.Limits = l
	t.Cleanup(func() { m.p.Close(); m.end() })
	return m.p
}

// takeNow reserves n connections and returns those that are granted at once. It gives up the others.
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
	assert.Len(t, rest, 16, "one client gets half. %s", ruleShare)
	assert.Len(t, second, 16, "another client gets half of the rest. %s", ruleShare)
	giveBack(append(append(pipelined, rest...), second...))
}

func TestIPv6ClientIsItsNetwork(t *testing.T) {
	t.Parallel()
	p := newSharedPool(t, Limits{PerBackend: 8, Total: 8})
	var got []*Lease
	for i := range 20 {
		got = append(got, takeNow(t, p, 1, "x", netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i)), func() *Line { return nil })...)
	}

	assert.Len(t, got, 4, "addresses of one /64 are one client. share.go, ClientOf")
	assert.Equal(t, ClientOf(netip.MustParseAddr("::ffff:192.0.2.1")), netip.MustParseAddr("192.0.2.1"))
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
	assert.NotEmpty(t, quick, "connections to a slow backend must leave permits for a quick one. %s", ruleShare)
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
	assert.ErrorIs(t, err, ErrQueueFull, "a caller for which the queue has no room does not wait")
	assert.EqualValues(t, 1, p.Stats().Backend("x").TurnedAway)
	assert.NotNil(t, left.waiter, "the queue has room for other clients. %s", ruleShare)
	giveBack(held)
	for _, at := range append(waiting, left) {
		l, err := p.Claim(t.Context(), at, &testTimeouts)
		require.NoError(t, err)
		l.Return(true)
	}
}

// A pipeline of any depth takes one place in the queue, and is served in its order.
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
	assert.NotNil(t, free.waiter, "a request takes a permit only when all earlier requests of its line have had theirs. line.go")
	giveBack(held)
	for _, at := range append(all, free) {
		l, err := p.Claim(t.Context(), at, &testTimeouts)
		require.NoError(t, err)
		l.Return(true)
	}
}

// If a client has used up its share, its own engines return their connections, and those
// of other clients do not: their connections could not help it.
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
	assert.False(t, others[0].ShouldReturn(), "no caller waits any more")
	giveBack(append(others, l))
}

// A holder that redials keeps its permit, although it could not have another one.
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
	require.NotNil(t, at.waiter, "the client has used up its share")

	fresh, err := got[0].Redial(t.Context(), true, &testTimeouts)

	require.NoError(t, err)
	assert.Equal(t, 2, p.inUse, "the new connection has the permit of the old one")
	assert.Empty(t, at.waiter.ready, "no other caller got it")
	giveBack([]*Lease{fresh, got[1]})
	l, err := p.Claim(t.Context(), at, &testTimeouts)
	require.NoError(t, err)
	giveBack([]*Lease{l})
	assert.Zero(t, p.inUse)
	p.sweepAccounts()
	assert.Empty(t, p.clients, "the client has nothing left")
}

// The requests of a line keep the place of their arrival, although only one of them is
// in the queue: a pipeline's responses then come together, and leave in one write.
func TestPipelineKeepsTheOrderOfArrival(t *testing.T) {
	t.Parallel()
	s, p := testutil.ServePolite(t), newSmallPool(t, 1)
	held, err := p.Get(t.Context(), s.Addr, &testTimeouts)
	require.NoError(t, err)
	var first, second Line
	at := []Reservation{
		p.Reserve(s.Addr, netip.Addr{}, &first), p.Reserve(s.Addr, netip.Addr{}, &first), p.Reserve(s.Addr, netip.Addr{}, &first),
		p.Reserve(s.Addr, netip.Addr{}, &second), p.Reserve(s.Addr, netip.Addr{}, &first),
	}

	p.put(held, true)

	for i, r := range at {
		for j, later := range at[i+1:] {
			assert.Empty(t, later.waiter.ready, "request %d is served before %d", i+1+j, i)
		}
		l, err := p.Claim(t.Context(), r, &testTimeouts)
		require.NoError(t, err)
		p.put(l, true)
	}
}
