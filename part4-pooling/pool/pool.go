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

// A Pool keeps connections to servers for the next caller. What it counts are
// permits: the right to have one connection, be it in somebody's hands, idle,
// or still being dialled. A connection and its permit are in one of these states:
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
// Nobody waits while a connection that he could have is idle, or a permit free.
type Pool struct {
	Limits Limits
	Dial   func(ctx context.Context, addr string, timeout time.Duration) (*client.Conn, error)
	Now    func() time.Time

	// The law of this lock: it is held to move connections and callers between
	// lists, and for nothing that waits: no dial, no write, no close. What has
	// to be closed goes on the list doomed, and unlock closes it when the lock
	// is open again. (A check is a system call, but one that never waits. The
	// evictor makes it with the lock held; get and put, who are in a hurry and
	// have the connection for themselves, without.)
	mu             sync.Mutex
	backends       map[string]*backend
	backendList    []*backend   // the same, in the order of their first use
	permits        int          // out, to all backends together
	Waiting        atomic.Int64 // callers; changed with the lock held
	anyQuarantined atomic.Bool  // one of the backends is, or was, not to be trusted
	lastTicket     uint64       // given out to those who wait
	toClose        []*Lease
	closed         bool

	stopEvictor chan struct{}
}

// A backend is one address, and what the pool has of it. The pool's lock guards it.
type backend struct {
	addr             string
	permits          int      // out: idle ones included
	idle             []*Lease // the last was used last
	queue            waitQueue
	generation       uint64    // a connection of an older one dies when it comes back
	quarantinedUntil time.Time // until then no connection is kept
	counts           Counts
}

// A Lease is a connection of the pool, and what the pool knows of it, guarded by the
// pool's lock. There is one as long as there is the connection.
type Lease struct {
	*client.Conn
	pool       *Pool
	backend    *backend
	state      leaseState
	generation uint64    // of its backend, when it was dialled
	dialledAt  time.Time // when it was dialled
	expires    time.Time // when it must not be idle any more
}

type leaseState int

const (
	leaseHeld leaseState = iota
	leaseIdle
	leaseClosed
)

// Limits are all that the pool may hold, and for how long.
type Limits struct {
	PerBackend int           // connections
	Total      int           // connections to all backends together
	MaxWait    time.Duration // of a caller, for a connection
	IdleTime   time.Duration // of a connection; less if the server said so
	Lifetime   time.Duration // of a connection
	Quarantine time.Duration // that nothing is kept of a backend which has sent what nobody asked for
}

var DefaultLimits = Limits{
	PerBackend: 32,  // 8 to 32 keep a core busy; more only wait at the server instead of here
	Total:      256, // descriptors
	MaxWait:    5 * time.Second,
	IdleTime:   4 * time.Second,  // node closes after 5, Apache too: be first
	Lifetime:   10 * time.Minute, // so that a balancer in front of the backend gets to choose again
	Quarantine: 10 * time.Second, // a connection for each request costs some 60 µs; somebody else's answer, a customer
}

func (l *Limits) AddFlags(f *flag.FlagSet) {
	*l = DefaultLimits
	f.IntVar(&l.PerBackend, "backend-connections", l.PerBackend, "connections to one backend")
	f.IntVar(&l.Total, "all-backend-connections", l.Total, "connections to all backends together")
	f.DurationVar(&l.MaxWait, "backend-wait", l.MaxWait, "for a connection to a backend to come free")
	f.DurationVar(&l.IdleTime, "backend-idle", l.IdleTime, "that a connection to a backend is kept unused")
	f.DurationVar(&l.Lifetime, "backend-life", l.Lifetime, "that a connection to a backend is kept at all")
	f.DurationVar(&l.Quarantine, "backend-wary", l.Quarantine, "that none is kept, after one had bytes that nobody asked for")
}

// Validate says what no pool can work with.
func (l *Limits) Validate() error {
	if l.PerBackend < 1 || l.Total < 1 || l.MaxWait < 0 || l.IdleTime <= 0 || l.Lifetime <= 0 {
		return errors.New("-backend-connections and -all-backend-connections: want at least 1; -backend-idle and -backend-life: more than 0")
	}
	return nil
}

// What get ends in when it does not end well.
var (
	ErrClosed      = errors.New("the pool is closed")
	ErrWaitTimeout = errors.New("no connection came free in time")

	errBroken      = errors.New("of no use after an exchange")
	ErrQuarantined = errors.New("its server has lately sent what nobody asked for")
)

func New(limits Limits) *Pool {
	return &Pool{Limits: limits, Dial: client.Dial, Now: wallTime, backends: map[string]*backend{}}
}

// wallTime has no monotonic part: that one stands still while a machine
// sleeps, and the timer of a server elsewhere does not.
func wallTime() time.Time { return time.Now().Round(0) }

// Get returns a connection to addr that nobody else has: the idle one that was used
// last, or a new one. While there are as many as there may be, it waits. The
// caller gives it back with put.
func (p *Pool) Get(ctx context.Context, addr string, t *client.Timeouts) (*Lease, error) {
	return p.Claim(ctx, p.Reserve(addr), t)
}

// A Reservation is what a caller has who has asked for a connection and not waited yet: a
// grant, or a place in the queue. It must be claimed, once. What asks in the
// right order and waits later cannot be overtaken by what asked after it
// (reserve.go).
type Reservation struct {
	backend *backend
	grant   grant
	Waiter  *waiter // nil with a grant
	Ticket  uint64  // the newest when it was taken
}

// Reserve takes a place, and never waits.
func (p *Pool) Reserve(addr string) (at Reservation) {
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	at.backend = p.backendFor(addr)
	if p.closed {
		at.grant.err = ErrClosed
		return at
	}
	var ok bool
	if at.grant, ok = p.tryAcquire(at.backend, now); !ok {
		at.Waiter = p.enqueue(at.backend)
	}
	at.Ticket = p.lastTicket
	p.grantWaiters(now) // take may have closed more than it took
	return at
}

// Claim waits until a place has become a connection.
func (p *Pool) Claim(ctx context.Context, at Reservation, t *client.Timeouts) (*Lease, error) {
	g := at.grant
	if at.Waiter != nil {
		g = p.wait(ctx, at.Waiter)
	}
	if g.err != nil {
		return nil, fmt.Errorf("connection to %s: %w", at.backend.addr, g.err)
	}
	return p.checkOrDial(ctx, at.backend, g, t)
}

// A grant is what a caller gets: a connection, or a permit to dial one.
type grant struct {
	lease      *Lease
	generation uint64
	err        error // neither: why not
}

// tryAcquire grants what can be had at once. With the lock held.
func (p *Pool) tryAcquire(b *backend, now time.Time) (g grant, ok bool) {
	for n := len(b.idle); n > 0; n = len(b.idle) {
		l := b.idle[n-1]
		b.idle[n-1], b.idle = nil, b.idle[:n-1]
		if now.Before(l.expires) {
			l.state = leaseHeld
			b.counts.Reused++
			return grant{lease: l}, true
		}
		p.retire(l, &b.counts.Expired)
	}
	if b.permits == p.Limits.PerBackend || p.permits == p.Limits.Total && !p.evictForOther() {
		return grant{}, false
	}
	b.permits++
	p.permits++
	return grant{generation: b.generation}, true
}

// checkOrDial makes a connection out of a grant. A connection that fails its check leaves its
// permit to us, so we need not wait again.
func (p *Pool) checkOrDial(ctx context.Context, b *backend, g grant, t *client.Timeouts) (*Lease, error) {
	for l := g.lease; l != nil; l = g.lease {
		err := l.CheckIdle()
		if err == nil {
			return l, nil
		}
		g = p.replace(l, err)
	}
	return p.dialPermitted(ctx, b, g, t)
}

// dialPermitted dials with a permit, and gives it back if that fails, or if the caller
// has left.
func (p *Pool) dialPermitted(ctx context.Context, b *backend, g grant, t *client.Timeouts) (*Lease, error) {
	if ctx.Err() != nil {
		now := p.Now()
		p.mu.Lock()
		defer p.unlockAndClose()
		p.releasePermit(b, now)
		return nil, fmt.Errorf("connection to %s: %w", b.addr, context.Cause(ctx))
	}
	dialled, err := p.Dial(ctx, b.addr, t.Connect)
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	if err != nil {
		b.counts.DialFailed++
		p.releasePermit(b, now)
		return nil, err
	}
	b.counts.Dialled++
	l := &Lease{Conn: dialled, pool: p, backend: b, generation: g.generation, dialledAt: now}
	dialled.Owner = l
	return l, nil
}

// replace exchanges a connection that failed its check for another idle one, or for
// the permit that it had.
func (p *Pool) replace(l *Lease, why error) grant {
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	b := l.backend
	b.counts.Reused-- // which it was not, after all
	p.retireBroken(l, why)
	p.quarantine(b, why, now)
	g, _ := p.tryAcquire(b, now) // there is at least the permit of l
	p.grantWaiters(now)
	return g
}

// Redial exchanges a connection that its caller has no more use for by a fresh one, which
// nobody can be given before him. again says that a request is sent once more.
func (l *Lease) Redial(ctx context.Context, again bool, t *client.Timeouts) (*Lease, error) {
	p := l.pool
	now := p.Now()
	p.mu.Lock()
	b := l.backend
	l.state = leaseClosed
	p.toClose = append(p.toClose, l)
	*b.counts.counterFor(l.Fault)++
	if again {
		b.counts.Retried++
	}
	p.quarantine(b, l.Fault, now)
	g := grant{generation: b.generation}
	p.grantWaiters(now)
	p.unlockAndClose()
	return p.dialPermitted(ctx, b, g, t)
}

// put gives a connection back. It is kept if it is good, which is for the caller to
// say, and still as it should be, which put finds out.
func (p *Pool) put(l *Lease, good bool) {
	why := cmp.Or(l.Fault, errBroken)
	if good {
		why = nil
		if p.Waiting.Load() == 0 { // else somebody gets it at once, and looks himself
			why = l.CheckIdle()
		}
	}
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	if l.state != leaseHeld {
		panic("a link was put back that nobody had")
	}
	b := l.backend
	l.expires = p.idleDeadline(l, now)
	switch {
	case why != nil:
		p.retireBroken(l, why)
		p.quarantine(b, why, now)
	case p.closed || l.generation != b.generation || now.Before(b.quarantinedUntil):
		p.retire(l, &b.counts.Dropped)
	case !now.Before(l.expires):
		p.retire(l, &b.counts.Expired)
	default:
		l.state = leaseIdle
		b.idle = append(b.idle, l)
	}
	p.grantWaiters(now)
}

// Return is put for who has no more than the connection (Link.Release).
func (l *Lease) Return(good bool) { l.pool.put(l, good) }

// idleDeadline is when a connection that becomes idle now has to go. A server that says how
// long it keeps a connection counts from its last byte, and its clock is not
// ours: a margin keeps us from sending in the moment in which it closes.
func (p *Pool) idleDeadline(l *Lease, now time.Time) time.Time {
	idle := p.Limits.IdleTime
	if l.KeepAliveTimeout > 0 {
		idle = min(idle, l.KeepAliveTimeout-min(l.KeepAliveTimeout/4, keepAliveMargin))
	}
	expires, dies := now.Add(idle), l.dialledAt.Add(p.Limits.Lifetime)
	if dies.Before(expires) {
		return dies
	}
	return expires
}

const keepAliveMargin = time.Second

// retire closes a connection, soon, and takes its permit back. Whoever calls it
// settles before he unlocks, or takes the permit himself. With the lock held.
func (p *Pool) retire(l *Lease, count *uint64) {
	*count++
	l.state = leaseClosed
	l.backend.permits--
	p.permits--
	p.toClose = append(p.toClose, l)
}

// retireBroken retires a connection for what was found. With the lock held.
func (p *Pool) retireBroken(l *Lease, why error) { p.retire(l, l.backend.counts.counterFor(why)) }

// quarantine is for a backend that has sent bytes nobody asked for. Most of them
// are found, but not those that come when the next request has just left: nobody
// can tell them from the response to it. Who does it once does it again, so for a
// while no request is made where another one was. With the lock held.
func (p *Pool) quarantine(b *backend, why error, now time.Time) {
	if errors.Is(why, client.ErrUnsolicited) && p.Limits.Quarantine > 0 {
		b.quarantinedUntil = now.Add(p.Limits.Quarantine)
		p.anyQuarantined.Store(true)
		b.generation++
		p.dropIdle(b)
	}
}

// releasePermit is the end of a permit without a connection. With the lock held.
func (p *Pool) releasePermit(b *backend, now time.Time) {
	b.permits--
	p.permits--
	p.grantWaiters(now)
}

// grantWaiters grants what has become free to those who wait, the oldest first. With
// the lock held.
func (p *Pool) grantWaiters(now time.Time) {
	for p.Waiting.Load() > 0 {
		b := p.nextToServe()
		if b == nil {
			return
		}
		g, ok := p.tryAcquire(b, now)
		if !ok {
			return
		}
		p.deliver(b.queue.first, g)
	}
}

// nextToServe is the backend of the caller who has waited longest, of those who can
// have something now. Who waits for a backend that has all its connections in
// use stands in nobody's way.
func (p *Pool) nextToServe() (eldest *backend) {
	room := p.permits < p.Limits.Total || p.hasIdle()
	for _, b := range p.backendList {
		w := b.queue.first
		if w != nil && (len(b.idle) > 0 || room && b.permits < p.Limits.PerBackend) && (eldest == nil || w.ticket < eldest.queue.first.ticket) {
			eldest = b
		}
	}
	return eldest
}

func (p *Pool) hasIdle() bool {
	for _, b := range p.backendList {
		if len(b.idle) > 0 {
			return true
		}
	}
	return false
}

// evictForOther closes the connection that has been idle longest, so that another backend
// can have its permit. With the lock held.
func (p *Pool) evictForOther() bool {
	var oldest *backend
	for _, b := range p.backendList {
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

// backendFor finds or makes the backend at addr. With the lock held.
func (p *Pool) backendFor(addr string) *backend {
	b := p.backends[addr]
	if b == nil {
		b = &backend{addr: addr}
		p.backends[addr] = b
		p.backendList = append(p.backendList, b)
	}
	return b
}

// unlockAndClose opens the lock, and then closes what has been retired.
func (p *Pool) unlockAndClose() {
	doomed := p.toClose
	p.toClose = nil
	p.mu.Unlock()
	for _, l := range doomed {
		l.Close()
	}
}
