package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A pool keeps links to servers for the next caller. What it counts are
// permits: the right to have one connection, be it in somebody's hands, idle,
// or still being dialled. A link and its permit are in one of these states:
//
//	             dial fails
//	        +-----------------> the permit goes back
//	        |
//	 get ---+--> leased <----------------------+
//	  |     dial   |                           | get: the one used last, and it
//	  |            | put                       | passes its check
//	  |            +----> good? --- yes ---> idle
//	  |                     | no               | too long idle or too old (evict, get),
//	  |                     v                  | dropAll, distrust, in another backend's way
//	  |                   closed <-------------+
//	  |                     |
//	  v                     v the permit goes back
//	wait <---------- to the caller who has waited longest
//
// Nobody waits while a link that he could have is idle, or a permit free.
type pool struct {
	limits poolLimits
	dial   func(ctx context.Context, addr string, timeout time.Duration) (*link, error)
	now    func() time.Time

	// The law of this lock: it is held to move links and callers between
	// lists, and for nothing that waits: no dial, no write, no close. What has
	// to be closed goes on the list doomed, and unlock closes it when the lock
	// is open again. (A check is a system call, but one that never waits. The
	// evictor makes it with the lock held; get and put, who are in a hurry and
	// have the link for themselves, without.)
	mu       sync.Mutex
	backends map[string]*backend
	all      []*backend   // the same, in the order of their first use
	permits  int          // out, to all backends together
	waiting  atomic.Int64 // callers; changed with the lock held
	doubted  atomic.Bool  // one of the backends is, or was, not to be trusted
	tickets  uint64       // given out to those who wait
	doomed   []*lease
	closed   bool

	stopEvictor chan struct{}
}

// A backend is one address, and what the pool has of it. The pool's lock guards it.
type backend struct {
	addr       string
	permits    int      // out: idle ones included
	idle       []*lease // the last was used last
	queue      waiters
	generation uint64    // a link of an older one dies when it comes back
	wary       time.Time // until then no link is kept
	counts     counts
}

// A lease is a link of the pool, and what the pool knows of it, guarded by the
// pool's lock. There is one as long as there is the link.
type lease struct {
	*link
	pool       *pool
	backend    *backend
	state      leaseState
	generation uint64    // of its backend, when it was dialled
	born       time.Time // when it was dialled
	expires    time.Time // when it must not be idle any more
}

type leaseState int

const (
	inHand leaseState = iota
	isIdle
	isClosed
)

// poolLimits are all that the pool may hold, and for how long.
type poolLimits struct {
	perBackend int           // connections
	total      int           // connections to all backends together
	wait       time.Duration // of a caller, for a connection
	idle       time.Duration // of a connection; less if the server said so
	life       time.Duration // of a connection
	wary       time.Duration // that nothing is kept of a backend which has sent what nobody asked for
}

var poolDefaults = poolLimits{
	perBackend: 32,  // 8 to 32 keep a core busy; more only wait at the server instead of here
	total:      256, // descriptors
	wait:       5 * time.Second,
	idle:       4 * time.Second,  // node closes after 5, Apache too: be first
	life:       10 * time.Minute, // so that a balancer in front of the backend gets to choose again
	wary:       10 * time.Second, // a connection for each call costs some 60 µs; somebody else's answer, a customer
}

func (l *poolLimits) flags(f *flag.FlagSet) {
	*l = poolDefaults
	f.IntVar(&l.perBackend, "backend-connections", l.perBackend, "connections to one backend")
	f.IntVar(&l.total, "all-backend-connections", l.total, "connections to all backends together")
	f.DurationVar(&l.wait, "backend-wait", l.wait, "for a connection to a backend to come free")
	f.DurationVar(&l.idle, "backend-idle", l.idle, "that a connection to a backend is kept unused")
	f.DurationVar(&l.life, "backend-life", l.life, "that a connection to a backend is kept at all")
	f.DurationVar(&l.wary, "backend-wary", l.wary, "that none is kept, after one had bytes that nobody asked for")
}

// check says what no pool can work with.
func (l *poolLimits) check() error {
	if l.perBackend < 1 || l.total < 1 || l.wait < 0 || l.idle <= 0 || l.life <= 0 {
		return errors.New("-backend-connections and -all-backend-connections: want at least 1; -backend-idle and -backend-life: more than 0")
	}
	return nil
}

// What get ends in when it does not end well.
var (
	ErrPoolClosed  = errors.New("the pool is closed")
	ErrWaitTimeout = errors.New("no connection came free in time")

	errBroken    = errors.New("of no use after an exchange")
	errUntrusted = errors.New("its server has lately sent what nobody asked for")
)

func newPool(limits poolLimits) *pool {
	return &pool{limits: limits, dial: dialHost, now: wallClock, backends: map[string]*backend{}}
}

// wallClock has no monotonic part: that one stands still while a machine
// sleeps, and the timer of a server elsewhere does not.
func wallClock() time.Time { return time.Now().Round(0) }

// get returns a link to addr that nobody else has: the idle one that was used
// last, or a new one. While there are as many as there may be, it waits. The
// caller gives it back with put.
func (p *pool) get(ctx context.Context, addr string, t *timeouts) (*lease, error) {
	return p.claim(ctx, p.ask(addr), t)
}

// A place is what a caller has who has asked for a link and not waited yet: a
// grant, or a place in the queue. It must be claimed, once. What asks in the
// right order and waits later cannot be overtaken by what asked after it
// (lineup.go).
type place struct {
	b      *backend
	g      grant
	w      *waiter // nil with a grant
	ticket uint64  // the newest when it was taken
}

// ask takes a place, and never waits.
func (p *pool) ask(addr string) (at place) {
	now := p.now()
	p.mu.Lock()
	defer p.unlock()
	at.b = p.backend(addr)
	if p.closed {
		at.g.err = ErrPoolClosed
		return at
	}
	var ok bool
	if at.g, ok = p.take(at.b, now); !ok {
		at.w = p.enqueue(at.b)
	}
	at.ticket = p.tickets
	p.settle(now) // take may have closed more than it took
	return at
}

// claim waits until a place has become a link.
func (p *pool) claim(ctx context.Context, at place, t *timeouts) (*lease, error) {
	g := at.g
	if at.w != nil {
		g = p.await(ctx, at.w)
	}
	if g.err != nil {
		return nil, fmt.Errorf("connection to %s: %w", at.b.addr, g.err)
	}
	return p.use(ctx, at.b, g, t)
}

// A grant is what a caller gets: a link, or a permit to dial one.
type grant struct {
	lease      *lease
	generation uint64
	err        error // neither: why not
}

// take grants what can be had at once. With the lock held.
func (p *pool) take(b *backend, now time.Time) (g grant, ok bool) {
	for n := len(b.idle); n > 0; n = len(b.idle) {
		l := b.idle[n-1]
		b.idle[n-1], b.idle = nil, b.idle[:n-1]
		if now.Before(l.expires) {
			l.state = inHand
			b.counts.Reused++
			return grant{lease: l}, true
		}
		p.retire(l, &b.counts.Expired)
	}
	if b.permits == p.limits.perBackend || p.permits == p.limits.total && !p.displace() {
		return grant{}, false
	}
	b.permits++
	p.permits++
	return grant{generation: b.generation}, true
}

// use makes a link out of a grant. A link that fails its check leaves its
// permit to us, so we need not wait again.
func (p *pool) use(ctx context.Context, b *backend, g grant, t *timeouts) (*lease, error) {
	for l := g.lease; l != nil; l = g.lease {
		err := l.check()
		if err == nil {
			return l, nil
		}
		g = p.instead(l, err)
	}
	return p.fresh(ctx, b, g, t)
}

// fresh dials with a permit, and gives it back if that fails, or if the caller
// has left.
func (p *pool) fresh(ctx context.Context, b *backend, g grant, t *timeouts) (*lease, error) {
	if ctx.Err() != nil {
		now := p.now()
		p.mu.Lock()
		defer p.unlock()
		p.permitBack(b, now)
		return nil, fmt.Errorf("connection to %s: %w", b.addr, context.Cause(ctx))
	}
	dialled, err := p.dial(ctx, b.addr, t.connect)
	now := p.now()
	p.mu.Lock()
	defer p.unlock()
	if err != nil {
		b.counts.DialFailed++
		p.permitBack(b, now)
		return nil, err
	}
	b.counts.Dialled++
	l := &lease{link: dialled, pool: p, backend: b, generation: g.generation, born: now}
	dialled.owner = l
	return l, nil
}

// instead exchanges a link that failed its check for another idle one, or for
// the permit that it had.
func (p *pool) instead(l *lease, why error) grant {
	now := p.now()
	p.mu.Lock()
	defer p.unlock()
	b := l.backend
	b.counts.Reused-- // which it was not, after all
	p.discard(l, why)
	p.distrust(b, why, now)
	g, _ := p.take(b, now) // there is at least the permit of l
	p.settle(now)
	return g
}

// renew exchanges a link that its caller has no more use for by a fresh one, which
// nobody can be given before him. again says that a call is sent once more.
func (l *lease) renew(ctx context.Context, again bool, t *timeouts) (*lease, error) {
	p := l.pool
	now := p.now()
	p.mu.Lock()
	b := l.backend
	l.state = isClosed
	p.doomed = append(p.doomed, l)
	*b.counts.of(l.found)++
	if again {
		b.counts.Retried++
	}
	p.distrust(b, l.found, now)
	g := grant{generation: b.generation}
	p.settle(now)
	p.unlock()
	return p.fresh(ctx, b, g, t)
}

// put gives a link back. It is kept if it is good, which is for the caller to
// say, and still as it should be, which put finds out.
func (p *pool) put(l *lease, good bool) {
	why := cmp.Or(l.found, errBroken)
	if good {
		why = nil
		if p.waiting.Load() == 0 { // else somebody gets it at once, and looks himself
			why = l.check()
		}
	}
	now := p.now()
	p.mu.Lock()
	defer p.unlock()
	if l.state != inHand {
		panic("a link was put back that nobody had")
	}
	b := l.backend
	l.expires = p.expiry(l, now)
	switch {
	case why != nil:
		p.discard(l, why)
		p.distrust(b, why, now)
	case p.closed || l.generation != b.generation || now.Before(b.wary):
		p.retire(l, &b.counts.Dropped)
	case !now.Before(l.expires):
		p.retire(l, &b.counts.Expired)
	default:
		l.state = isIdle
		b.idle = append(b.idle, l)
	}
	p.settle(now)
}

// giveBack is put for who has no more than the link (link.release).
func (l *lease) giveBack(good bool) { l.pool.put(l, good) }

// expiry is when a link that becomes idle now has to go. A server that says how
// long it keeps a connection counts from its last byte, and its clock is not
// ours: a margin keeps us from sending in the moment in which it closes.
func (p *pool) expiry(l *lease, now time.Time) time.Time {
	idle := p.limits.idle
	if l.keep > 0 {
		idle = min(idle, l.keep-min(l.keep/4, keepMargin))
	}
	expires, dies := now.Add(idle), l.born.Add(p.limits.life)
	if dies.Before(expires) {
		return dies
	}
	return expires
}

const keepMargin = time.Second

// retire closes a link, soon, and takes its permit back. Whoever calls it
// settles before he unlocks, or takes the permit himself. With the lock held.
func (p *pool) retire(l *lease, count *uint64) {
	*count++
	l.state = isClosed
	l.backend.permits--
	p.permits--
	p.doomed = append(p.doomed, l)
}

// discard retires a link for what was found. With the lock held.
func (p *pool) discard(l *lease, why error) { p.retire(l, l.backend.counts.of(why)) }

// distrust is for a backend that has sent bytes nobody asked for. Most of them
// are found, but not those that come when the next call has just left: nobody
// can tell them from the answer to it. Who does it once does it again, so for a
// while no call is made where another one was. With the lock held.
func (p *pool) distrust(b *backend, why error, now time.Time) {
	if errors.Is(why, ErrUnsolicited) && p.limits.wary > 0 {
		b.wary = now.Add(p.limits.wary)
		p.doubted.Store(true)
		b.generation++
		p.clear(b)
	}
}

// permitBack is the end of a permit without a link. With the lock held.
func (p *pool) permitBack(b *backend, now time.Time) {
	b.permits--
	p.permits--
	p.settle(now)
}

// settle grants what has become free to those who wait, the oldest first. With
// the lock held.
func (p *pool) settle(now time.Time) {
	for p.waiting.Load() > 0 {
		b := p.eldest()
		if b == nil {
			return
		}
		g, ok := p.take(b, now)
		if !ok {
			return
		}
		p.deliver(b.queue.first, g)
	}
}

// eldest is the backend of the caller who has waited longest, of those who can
// have something now. Who waits for a backend that has all its connections in
// use stands in nobody's way.
func (p *pool) eldest() (eldest *backend) {
	room := p.permits < p.limits.total || p.anyIdle()
	for _, b := range p.all {
		w := b.queue.first
		if w != nil && (len(b.idle) > 0 || room && b.permits < p.limits.perBackend) && (eldest == nil || w.ticket < eldest.queue.first.ticket) {
			eldest = b
		}
	}
	return eldest
}

func (p *pool) anyIdle() bool {
	for _, b := range p.all {
		if len(b.idle) > 0 {
			return true
		}
	}
	return false
}

// displace closes the link that has been idle longest, so that another backend
// can have its permit. With the lock held.
func (p *pool) displace() bool {
	var oldest *backend
	for _, b := range p.all {
		if len(b.idle) > 0 && (oldest == nil || b.idle[0].expires.Before(oldest.idle[0].expires)) {
			oldest = b
		}
	}
	if oldest == nil {
		return false
	}
	l := oldest.idle[0]
	oldest.idle = append(oldest.idle[:0], oldest.idle[1:]...)
	p.retire(l, &oldest.counts.Displaced)
	return true
}

// backend finds or makes the backend at addr. With the lock held.
func (p *pool) backend(addr string) *backend {
	b := p.backends[addr]
	if b == nil {
		b = &backend{addr: addr}
		p.backends[addr] = b
		p.all = append(p.all, b)
	}
	return b
}

// unlock opens the lock, and then closes what has been retired.
func (p *pool) unlock() {
	doomed := p.doomed
	p.doomed = nil
	p.mu.Unlock()
	for _, l := range doomed {
		l.Close()
	}
}
