package pool

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
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
// Nobody waits while a connection that he could have is idle, or a permit free: he
// can have as many as he leaves (share.go), and in his turn (line.go).
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
	queued         atomic.Int64 // callers, in all queues; changed with the lock held
	backends       map[string]*backend
	backendList    []*backend // the same, in the order of their first use
	permits        int        // out, to all backends together
	inUse          int        // of them: in hand, or being dialled
	clients        map[netip.Addr]*account
	wanted         atomic.Bool // one of them could have a permit if one came back, of whatever backend; changed with the lock held
	anyWanted      bool        // it, or that of a backend, is set
	anyQuarantined atomic.Bool // one of the backends is, or was, not to be trusted
	lastTicket     uint64      // given out to those who wait
	toClose        []*Lease
	closed         bool

	stopEvictor chan struct{}
}

// A backend is one address, and what the pool has of it. The pool's lock guards it.
type backend struct {
	addr             string
	permits          int      // out: idle ones included
	inUse            int      // the others
	idle             []*Lease // the last was used last
	queue            waitQueue
	following        int         // who wait behind others of their line
	wanted           atomic.Bool // one who waits could have a permit if one of this backend came back; changed with the lock held
	generation       uint64      // a connection of an older one dies when it comes back
	quarantinedUntil time.Time   // until then no connection is kept
	counts           Counts
}

// A Lease is a connection of the pool, and what the pool knows of it, guarded by the
// pool's lock. There is one as long as there is the connection.
type Lease struct {
	*client.Conn
	pool       *Pool
	backend    *backend
	holder     // who has it; nobody when it is idle
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
	PerBackend int           // connections; one client has at most half of them (share.go)
	Total      int           // connections to all backends together; the same
	Queue      int           // callers that may wait for one backend, heads of lines only; half of them of one client. 0: any number
	OneClient  bool          // there is only one, and it may have all
	MaxWait    time.Duration // of a caller, for a connection
	IdleTime   time.Duration // of a connection; less if the server said so
	Lifetime   time.Duration // of a connection
	Quarantine time.Duration // that nothing is kept of a backend which has sent what nobody asked for
}

var DefaultLimits = Limits{
	PerBackend: 64,  // 8 to 32 keep a core busy, and one client has half of these
	Total:      512, // descriptors
	Queue:      256, // 4 × PerBackend: who is behind them would hardly be served within MaxWait
	MaxWait:    5 * time.Second,
	IdleTime:   4 * time.Second,  // node closes after 5, Apache too: be first
	Lifetime:   10 * time.Minute, // so that a balancer in front of the backend gets to choose again
	Quarantine: 10 * time.Second, // a connection for each request costs some 60 µs; somebody else's answer, a customer
}

func (l *Limits) AddFlags(f *flag.FlagSet) {
	*l = DefaultLimits
	f.IntVar(&l.PerBackend, "backend-connections", l.PerBackend, "connections to one backend; one client, which is an address, has at most half of them, two have three quarters, and 7 can have all of 64")
	f.IntVar(&l.Total, "all-backend-connections", l.Total, "connections to all backends together; half of them for one client")
	f.IntVar(&l.Queue, "backend-queue", l.Queue, "clients' connections that may wait for one backend, half of them of one client; others get 503 at once")
	f.BoolVar(&l.OneClient, "one-client", false, "one client may have all connections to backends: for a gateway that has only one, and for measurements; -behind-proxy includes it")
	f.DurationVar(&l.MaxWait, "backend-wait", l.MaxWait, "for a connection to a backend to come free")
	f.DurationVar(&l.IdleTime, "backend-idle", l.IdleTime, "that a connection to a backend is kept unused")
	f.DurationVar(&l.Lifetime, "backend-life", l.Lifetime, "that a connection to a backend is kept at all")
	f.DurationVar(&l.Quarantine, "backend-wary", l.Quarantine, "that none is kept, after one had bytes that nobody asked for")
}

// Validate says what no pool can work with.
func (l *Limits) Validate() error {
	if l.PerBackend < 1 || l.Total < 1 || l.Queue < 0 || l.MaxWait < 0 || l.IdleTime <= 0 || l.Lifetime <= 0 {
		return errors.New("-backend-connections and -all-backend-connections: want at least 1; -backend-queue: at least 0; -backend-idle and -backend-life: more than 0")
	}
	return nil
}

// What get ends in when it does not end well.
var (
	ErrClosed      = errors.New("the pool is closed")
	ErrWaitTimeout = errors.New("no connection came free in time")
	ErrQueueFull   = errors.New("too many requests wait for a connection")

	errBroken      = errors.New("of no use after an exchange")
	ErrQuarantined = errors.New("its server has lately sent what nobody asked for")
)

func New(limits Limits) *Pool {
	return &Pool{Limits: limits, Dial: client.Dial, Now: wallTime, backends: map[string]*backend{}, clients: map[netip.Addr]*account{}}
}

// wallTime has no monotonic part: that one stands still while a machine
// sleeps, and the timer of a server elsewhere does not.
func wallTime() time.Time { return time.Now().Round(0) }

// Get returns a connection to addr that nobody else has: the idle one that was used
// last, or a new one. While there are as many as there may be, it waits. The
// caller gives it back with put.
func (p *Pool) Get(ctx context.Context, addr string, t *client.Timeouts) (*Lease, error) {
	return p.Claim(ctx, p.Reserve(addr, netip.Addr{}, nil), t)
}

// A Reservation is what a caller has who has asked for a connection and not waited yet: a
// grant, or a place in the queue. It must be claimed, once. What asks in the
// right order and waits later cannot be overtaken by what asked after it
// in its line (line.go).
type Reservation struct {
	backend *backend
	grant   grant
	waiter  *waiter // nil with a grant
	Number  uint64  // in its line
}

// Reserve takes a place for a request of client, in line, and never waits. Without a line
// it is alone; who has no client, because the program itself asks, may have all.
func (p *Pool) Reserve(addr string, client netip.Addr, line *Line) (at Reservation) {
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	at.backend = p.backendFor(addr)
	if p.closed {
		at.grant.err = ErrClosed
		return at
	}
	h := p.holderFor(client, line)
	at.Number = line.number()
	if !line.waits() && p.mayTake(at.backend, h, 0, 0) {
		at.grant = p.take(at.backend, h, now)
	} else if at.waiter = p.enqueue(at.backend, h, at.Number); at.waiter == nil {
		at.grant.err = ErrQueueFull
	}
	p.grantWaiters(now) // take may have closed more than it took
	return at
}

// Claim waits until a place has become a connection.
func (p *Pool) Claim(ctx context.Context, at Reservation, t *client.Timeouts) (*Lease, error) {
	g := at.grant
	if at.waiter != nil {
		g = p.wait(ctx, at.waiter)
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
	holder           // whose permit it is
	err        error // neither: why not
}

// take grants a connection to b, or a permit, to who may have it. With the lock held.
func (p *Pool) take(b *backend, h holder, now time.Time) grant {
	p.charge(b, h, 1)
	for n := len(b.idle); n > 0; n = len(b.idle) {
		l := b.idle[n-1]
		b.idle[n-1], b.idle = nil, b.idle[:n-1]
		if now.Before(l.expires) {
			l.state, l.holder = leaseHeld, h
			b.counts.Reused++
			return grant{lease: l, holder: h}
		}
		p.retire(l, &b.counts.Expired)
	}
	if p.permits == p.Limits.Total {
		p.evictForOther() // there is one: not all permits are in use, and none of ours is idle
	}
	b.permits++
	p.permits++
	return grant{generation: b.generation, holder: h}
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
		p.releasePermit(b, g.holder, now)
		return nil, fmt.Errorf("connection to %s: %w", b.addr, context.Cause(ctx))
	}
	dialled, err := p.Dial(ctx, b.addr, t.Connect)
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	if err != nil {
		b.counts.DialFailed++
		p.releasePermit(b, g.holder, now)
		return nil, err
	}
	b.counts.Dialled++
	l := &Lease{Conn: dialled, pool: p, backend: b, holder: g.holder, generation: g.generation, dialledAt: now}
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
	g := p.take(b, l.holder, now) // there is at least the permit of l: it is not asked for again
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
	g := grant{generation: b.generation, holder: l.holder}
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
		if !l.backend.wanted.Load() { // else somebody gets it at once, and looks himself
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
		p.charge(b, l.holder, -1)
		l.state, l.holder = leaseIdle, holder{}
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
	if l.state == leaseHeld {
		p.charge(l.backend, l.holder, -1)
	}
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
func (p *Pool) releasePermit(b *backend, h holder, now time.Time) {
	p.charge(b, h, -1)
	b.permits--
	p.permits--
	p.grantWaiters(now)
}

// grantWaiters grants what has become free to those who wait and leave as much, the
// oldest first. With the lock held.
func (p *Pool) grantWaiters(now time.Time) {
	if p.queued.Load() == 0 && !p.anyWanted {
		return
	}
	for p.queued.Load() > 0 {
		w := p.nextToServe()
		if w == nil {
			break
		}
		p.deliver(w, p.take(w.backend, w.holder, now))
	}
	p.noteWanted()
}

// nextToServe is the caller who has waited longest, of those who can have something
// now. Who waits for a backend that has all its connections in use, or for a share that
// is used up, stands in nobody's way. Queues are bounded, and so is this walk.
func (p *Pool) nextToServe() (eldest *waiter) {
	for _, b := range p.backendList {
		if b.inUse == p.Limits.PerBackend {
			continue
		}
		w := b.queue.first
		for w != nil && !p.mayTake(b, w.holder, 0, 0) {
			w = w.next
		}
		if w != nil && (eldest == nil || w.ticket < eldest.ticket) {
			eldest = w
		}
	}
	return eldest
}

// evictForOther closes the connection that has been idle longest, so that another backend
// can have its permit. With the lock held.
func (p *Pool) evictForOther() {
	var oldest *backend
	for _, b := range p.backendList {
		if len(b.idle) > 0 && (oldest == nil || b.idle[0].expires.Before(oldest.idle[0].expires)) {
			oldest = b
		}
	}
	l := oldest.idle[0]
	oldest.idle = append(oldest.idle[:0], oldest.idle[1:]...)
	p.retire(l, &oldest.counts.Displaced)
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
