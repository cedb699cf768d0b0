package pool

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"socketup/part4-pooling/client"
)

// A Pool keeps links to servers for the next caller. What it counts are
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
type Pool struct {
	Limits Limits
	Dial   func(ctx context.Context, addr string, timeout time.Duration) (*client.Link, error)
	Now    func() time.Time

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
	Waiting  atomic.Int64 // callers; changed with the lock held
	doubted  atomic.Bool  // one of the backends is, or was, not to be trusted
	tickets  uint64       // given out to those who wait
	doomed   []*Lease
	closed   bool

	stopEvictor chan struct{}
}

// A backend is one address, and what the pool has of it. The pool's lock guards it.
type backend struct {
	addr       string
	permits    int      // out: idle ones included
	idle       []*Lease // the last was used last
	queue      waiters
	generation uint64    // a link of an older one dies when it comes back
	wary       time.Time // until then no link is kept
	counts     Counts
}

// A Lease is a link of the pool, and what the pool knows of it, guarded by the
// pool's lock. There is one as long as there is the link.
type Lease struct {
	*client.Link
	pool       *Pool
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

// Limits are all that the pool may hold, and for how long.
type Limits struct {
	PerBackend int           // connections
	Total      int           // connections to all backends together
	Wait       time.Duration // of a caller, for a connection
	Idle       time.Duration // of a connection; less if the server said so
	Life       time.Duration // of a connection
	Wary       time.Duration // that nothing is kept of a backend which has sent what nobody asked for
}

var DefaultLimits = Limits{
	PerBackend: 32,  // 8 to 32 keep a core busy; more only wait at the server instead of here
	Total:      256, // descriptors
	Wait:       5 * time.Second,
	Idle:       4 * time.Second,  // node closes after 5, Apache too: be first
	Life:       10 * time.Minute, // so that a balancer in front of the backend gets to choose again
	Wary:       10 * time.Second, // a connection for each call costs some 60 µs; somebody else's answer, a customer
}

func (l *Limits) AddFlags(f *flag.FlagSet) {
	*l = DefaultLimits
	f.IntVar(&l.PerBackend, "backend-connections", l.PerBackend, "connections to one backend")
	f.IntVar(&l.Total, "all-backend-connections", l.Total, "connections to all backends together")
	f.DurationVar(&l.Wait, "backend-wait", l.Wait, "for a connection to a backend to come free")
	f.DurationVar(&l.Idle, "backend-idle", l.Idle, "that a connection to a backend is kept unused")
	f.DurationVar(&l.Life, "backend-life", l.Life, "that a connection to a backend is kept at all")
	f.DurationVar(&l.Wary, "backend-wary", l.Wary, "that none is kept, after one had bytes that nobody asked for")
}

// Check says what no pool can work with.
func (l *Limits) Check() error {
	if l.PerBackend < 1 || l.Total < 1 || l.Wait < 0 || l.Idle <= 0 || l.Life <= 0 {
		return errors.New("-backend-connections and -all-backend-connections: want at least 1; -backend-idle and -backend-life: more than 0")
	}
	return nil
}

// What get ends in when it does not end well.
var (
	ErrPoolClosed  = errors.New("the pool is closed")
	ErrWaitTimeout = errors.New("no connection came free in time")

	errBroken    = errors.New("of no use after an exchange")
	ErrUntrusted = errors.New("its server has lately sent what nobody asked for")
)

func New(limits Limits) *Pool {
	return &Pool{Limits: limits, Dial: client.DialHost, Now: wallClock, backends: map[string]*backend{}}
}

// wallClock has no monotonic part: that one stands still while a machine
// sleeps, and the timer of a server elsewhere does not.
func wallClock() time.Time { return time.Now().Round(0) }

// Get returns a link to addr that nobody else has: the idle one that was used
// last, or a new one. While there are as many as there may be, it waits. The
// caller gives it back with put.
func (p *Pool) Get(ctx context.Context, addr string, t *client.Timeouts) (*Lease, error) {
	return p.Claim(ctx, p.Ask(addr), t)
}

// A Place is what a caller has who has asked for a link and not waited yet: a
// grant, or a place in the queue. It must be claimed, once. What asks in the
// right order and waits later cannot be overtaken by what asked after it
// (lineup.go).
type Place struct {
	b      *backend
	g      grant
	W      *waiter // nil with a grant
	Ticket uint64  // the newest when it was taken
}

// Ask takes a place, and never waits.
func (p *Pool) Ask(addr string) (at Place) {
	now := p.Now()
	p.mu.Lock()
	defer p.unlock()
	at.b = p.backend(addr)
	if p.closed {
		at.g.err = ErrPoolClosed
		return at
	}
	var ok bool
	if at.g, ok = p.take(at.b, now); !ok {
		at.W = p.enqueue(at.b)
	}
	at.Ticket = p.tickets
	p.settle(now) // take may have closed more than it took
	return at
}

// Claim waits until a place has become a link.
func (p *Pool) Claim(ctx context.Context, at Place, t *client.Timeouts) (*Lease, error) {
	g := at.g
	if at.W != nil {
		g = p.await(ctx, at.W)
	}
	if g.err != nil {
		return nil, fmt.Errorf("connection to %s: %w", at.b.addr, g.err)
	}
	return p.use(ctx, at.b, g, t)
}

// A grant is what a caller gets: a link, or a permit to dial one.
type grant struct {
	lease      *Lease
	generation uint64
	err        error // neither: why not
}

// take grants what can be had at once. With the lock held.
func (p *Pool) take(b *backend, now time.Time) (g grant, ok bool) {
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
	if b.permits == p.Limits.PerBackend || p.permits == p.Limits.Total && !p.displace() {
		return grant{}, false
	}
	b.permits++
	p.permits++
	return grant{generation: b.generation}, true
}

// use makes a link out of a grant. A link that fails its check leaves its
// permit to us, so we need not wait again.
func (p *Pool) use(ctx context.Context, b *backend, g grant, t *client.Timeouts) (*Lease, error) {
	for l := g.lease; l != nil; l = g.lease {
		err := l.Check()
		if err == nil {
			return l, nil
		}
		g = p.instead(l, err)
	}
	return p.fresh(ctx, b, g, t)
}

// fresh dials with a permit, and gives it back if that fails, or if the caller
// has left.
func (p *Pool) fresh(ctx context.Context, b *backend, g grant, t *client.Timeouts) (*Lease, error) {
	if ctx.Err() != nil {
		now := p.Now()
		p.mu.Lock()
		defer p.unlock()
		p.permitBack(b, now)
		return nil, fmt.Errorf("connection to %s: %w", b.addr, context.Cause(ctx))
	}
	dialled, err := p.Dial(ctx, b.addr, t.Connect)
	now := p.Now()
	p.mu.Lock()
	defer p.unlock()
	if err != nil {
		b.counts.DialFailed++
		p.permitBack(b, now)
		return nil, err
	}
	b.counts.Dialled++
	l := &Lease{Link: dialled, pool: p, backend: b, generation: g.generation, born: now}
	dialled.Owner = l
	return l, nil
}

// instead exchanges a link that failed its check for another idle one, or for
// the permit that it had.
func (p *Pool) instead(l *Lease, why error) grant {
	now := p.Now()
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

// Renew exchanges a link that its caller has no more use for by a fresh one, which
// nobody can be given before him. again says that a call is sent once more.
func (l *Lease) Renew(ctx context.Context, again bool, t *client.Timeouts) (*Lease, error) {
	p := l.pool
	now := p.Now()
	p.mu.Lock()
	b := l.backend
	l.state = isClosed
	p.doomed = append(p.doomed, l)
	*b.counts.of(l.Found)++
	if again {
		b.counts.Retried++
	}
	p.distrust(b, l.Found, now)
	g := grant{generation: b.generation}
	p.settle(now)
	p.unlock()
	return p.fresh(ctx, b, g, t)
}

// put gives a link back. It is kept if it is good, which is for the caller to
// say, and still as it should be, which put finds out.
func (p *Pool) put(l *Lease, good bool) {
	why := cmp.Or(l.Found, errBroken)
	if good {
		why = nil
		if p.Waiting.Load() == 0 { // else somebody gets it at once, and looks himself
			why = l.Check()
		}
	}
	now := p.Now()
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

// GiveBack is put for who has no more than the link (Link.Release).
func (l *Lease) GiveBack(good bool) { l.pool.put(l, good) }

// expiry is when a link that becomes idle now has to go. A server that says how
// long it keeps a connection counts from its last byte, and its clock is not
// ours: a margin keeps us from sending in the moment in which it closes.
func (p *Pool) expiry(l *Lease, now time.Time) time.Time {
	idle := p.Limits.Idle
	if l.Keep > 0 {
		idle = min(idle, l.Keep-min(l.Keep/4, keepMargin))
	}
	expires, dies := now.Add(idle), l.born.Add(p.Limits.Life)
	if dies.Before(expires) {
		return dies
	}
	return expires
}

const keepMargin = time.Second

// retire closes a link, soon, and takes its permit back. Whoever calls it
// settles before he unlocks, or takes the permit himself. With the lock held.
func (p *Pool) retire(l *Lease, count *uint64) {
	*count++
	l.state = isClosed
	l.backend.permits--
	p.permits--
	p.doomed = append(p.doomed, l)
}

// discard retires a link for what was found. With the lock held.
func (p *Pool) discard(l *Lease, why error) { p.retire(l, l.backend.counts.of(why)) }

// distrust is for a backend that has sent bytes nobody asked for. Most of them
// are found, but not those that come when the next call has just left: nobody
// can tell them from the answer to it. Who does it once does it again, so for a
// while no call is made where another one was. With the lock held.
func (p *Pool) distrust(b *backend, why error, now time.Time) {
	if errors.Is(why, client.ErrUnsolicited) && p.Limits.Wary > 0 {
		b.wary = now.Add(p.Limits.Wary)
		p.doubted.Store(true)
		b.generation++
		p.clear(b)
	}
}

// permitBack is the end of a permit without a link. With the lock held.
func (p *Pool) permitBack(b *backend, now time.Time) {
	b.permits--
	p.permits--
	p.settle(now)
}

// settle grants what has become free to those who wait, the oldest first. With
// the lock held.
func (p *Pool) settle(now time.Time) {
	for p.Waiting.Load() > 0 {
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
func (p *Pool) eldest() (eldest *backend) {
	room := p.permits < p.Limits.Total || p.anyIdle()
	for _, b := range p.all {
		w := b.queue.first
		if w != nil && (len(b.idle) > 0 || room && b.permits < p.Limits.PerBackend) && (eldest == nil || w.ticket < eldest.queue.first.ticket) {
			eldest = b
		}
	}
	return eldest
}

func (p *Pool) anyIdle() bool {
	for _, b := range p.all {
		if len(b.idle) > 0 {
			return true
		}
	}
	return false
}

// displace closes the link that has been idle longest, so that another backend
// can have its permit. With the lock held.
func (p *Pool) displace() bool {
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
func (p *Pool) backend(addr string) *backend {
	b := p.backends[addr]
	if b == nil {
		b = &backend{addr: addr}
		p.backends[addr] = b
		p.all = append(p.all, b)
	}
	return b
}

// unlock opens the lock, and then closes what has been retired.
func (p *Pool) unlock() {
	doomed := p.doomed
	p.doomed = nil
	p.mu.Unlock()
	for _, l := range doomed {
		l.Close()
	}
}
