package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"socketup/part4-pooling/client"
)

// A Pool keeps connections to servers for the next request. It counts permits: a
// permit is the right to one connection, whether that is leased, idle or still
// being dialled. A connection and its permit are in one of these states:
//
//	                dial fails
//	            +-----------------> the permit is released
//	            |
//	Reserve, ---+--> leased <---------------------+
//	Claim       dial   |                          | Reserve: the most recently used one,
//	  |                | Return                   | which Claim checks
//	  |                +----> good? --- yes ---> idle
//	  |                         | no              | idle too long or too old (evict, Reserve),
//	  |                         v                 | or failed its check (evict, Claim); DropAll,
//	  |                       closed <------------+ quarantine; displaced for another backend
//	  |                         |
//	  v                         v the permit is released
//	wait <-------------- to the caller that has waited longest
//
// Two ways out of leased are not drawn: GiveBack closes the connection (giveback.go), and
// Redial closes it and dials another with its permit (roundtrip.go).
//
// No caller waits while it could have an idle connection or a free permit: it may
// have as many as it leaves to others (share.go), and in its turn (line.go).
//
// Any goroutine may call any method. Limits, Dial and Now must not change meanwhile.
type Pool struct {
	Limits Limits
	Dial   func(ctx context.Context, addr string, timeout time.Duration) (*client.Conn, error) // client.Dial, except in tests
	Now    func() time.Time                                                                    // the wall clock, except in tests

	// The law of this lock: it is held to move connections and callers between
	// lists, and never across anything that blocks: no dial, no write, no close.
	// A connection to be closed goes on the list toClose, and unlockAndClose
	// closes it after the unlock. (A check is a system call, but one that never
	// blocks. The evictor makes it with the lock held, checkOrDial and put
	// without, because the connection is theirs alone.)
	mu             sync.Mutex
	queued         atomic.Int64 // callers in all queues; written with the lock held
	backends       map[string]*backend
	backendList    []*backend // the same backends, in the order of their first use
	permits        int        // of all backends together
	inUse          int        // those of leased and dialled connections
	clients        map[netip.Addr]*account
	wanted         atomic.Bool // a queued caller could have a permit if one of any backend came back; written with the lock held
	anyWanted      bool        // wanted is true, or that of a backend is
	anyQuarantined atomic.Bool // some backend is or was in quarantine
	lastTicket     uint64      // of the newest waiter in a queue
	toClose        []*Lease    // retired, and closed by unlockAndClose
	closed         bool

	suspended   map[*Line]bool // those with requests that have given their connections back (giveback.go)
	stopEvictor chan struct{}
}

// A backend is one address and the pool's state for it. The pool's lock guards it.
type backend struct {
	addr             string
	permits          int      // of leased, idle and dialled connections
	inUse            int      // of leased and dialled ones
	idle             []*Lease // most recently used last
	queue            waitQueue
	following        int         // waiters for it that are not in the queue yet, but behind others of their line
	wanted           atomic.Bool // a queued caller could have a permit if one of this backend came back; written with the lock held
	generation       uint64      // DropAll increments it; a connection of an older generation is closed on return
	quarantinedUntil time.Time   // until then no connection to it is kept
	counts           Counts
}

// A Lease is a connection of the pool, from its dial to its close. The pool lends it
// to one caller after another. The current one alone may use it, and ends the lease with
// Release, which is client.Conn's, or Redial; never with Close.
type Lease struct {
	*client.Conn
	pool       *Pool    // never changes
	backend    *backend // never changes; the pool's lock guards the rest
	holder              // the client and the line that its permit is charged to; zero when it is idle
	state      leaseState
	generation uint64 // of its backend, at the time of the dial
	dialledAt  time.Time
	expires    time.Time // when it must no longer be idle
}

type leaseState int

const (
	leaseHeld   leaseState = iota // a caller has it
	leaseIdle                     // the pool has it
	leaseClosed                   // closed, or about to be
)

// The ways in which Get fails, apart from the dial; test for them with errors.Is.
var (
	ErrClosed      = errors.New("the pool is closed")
	ErrWaitTimeout = errors.New("no connection came free in time")         // Limits.MaxWait
	ErrQueueFull   = errors.New("too many requests wait for a connection") // Limits.Queue
)

// ErrQuarantined is for Conn.Fault, when a caller ends the lease of a quarantined backend.
var ErrQuarantined = errors.New("the backend is in quarantine: it sent unsolicited bytes")

var errBroken = errors.New("not reusable after an exchange")

// New returns an empty pool that dials with client.Dial. Without StartEvictor, idle
// connections are checked and expire only when they are asked for.
func New(limits Limits) *Pool {
	return &Pool{Limits: limits, Dial: client.Dial, Now: wallTime, backends: map[string]*backend{}, clients: map[netip.Addr]*account{}, suspended: map[*Line]bool{}}
}

// Get returns a connection to addr that no other caller has: the most recently
// used idle one, or a new one. At a limit it waits for Limits.MaxWait at most.
// The caller must give it back with Release, or call Redial. The errors are
// ErrClosed, ErrWaitTimeout, ErrQueueFull, context.Cause(ctx), and those of
// client.Dial.
func (p *Pool) Get(ctx context.Context, addr string, t *client.Timeouts) (*Lease, error) {
	return p.Claim(ctx, p.Reserve(addr, netip.Addr{}, nil), t)
}

// A grant is what the pool gives a caller: a connection, or a permit to dial one.
type grant struct {
	lease      *Lease // nil: dial, with this permit
	generation uint64 // for the connection to be dialled
	holder            // that the permit is charged to
	err        error  // or why there is neither
}

// take returns a grant to h, which must be one that mayTake allows. With the lock
// held.
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
		p.displaceIdle() // another backend has an idle connection: fewer than Total permits were in use, and b has no idle one left
	}
	b.permits++
	p.permits++
	return grant{generation: b.generation, holder: h}
}

// checkOrDial turns a grant into a connection. If the connection fails its check,
// its permit stays with the caller, which need not wait again.
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

// dialPermitted dials with a permit. It releases the permit if the dial fails or
// the context is already done.
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

// replace exchanges a connection that failed its check for another idle one, or
// for its own permit.
func (p *Pool) replace(l *Lease, why error) grant {
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	b := l.backend
	b.counts.Reused-- // take counted it as reused, and it is not
	p.retireBroken(l, why)
	p.quarantine(b, why, now)
	g := p.take(b, l.holder, now) // without mayTake: the permit of l has just become free
	p.grantWaiters(now)
	return g
}

// put takes a connection back from its holder. The pool keeps it if it is good, which
// the caller decides, and still passes its check. put checks it unless a waiting caller
// gets it now, because that caller checks it itself. It panics if l is not leased.
func (p *Pool) put(l *Lease, good bool) {
	why := cmp.Or(l.Fault, errBroken)
	if good {
		why = nil
		if !l.backend.wanted.Load() { // otherwise a waiter gets it now, and checks it itself
			why = l.CheckIdle()
		}
	}
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	if l.state != leaseHeld {
		panic("pool: the lease has already ended")
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

// Return gives l back to the pool; good means that the connection can carry another request.
// It panics if l has been given back already. It is the method of client.Owner: a holder
// calls Release, or closes the Response, and Release calls Return.
func (l *Lease) Return(good bool) { l.pool.put(l, good) }

// retire marks a connection for closing and takes its permit back. The caller
// must call grantWaiters before it unlocks, or use the permit itself. With the
// lock held.
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

// retireBroken retires a connection and counts it by why. With the lock held.
func (p *Pool) retireBroken(l *Lease, why error) { p.retire(l, l.backend.counts.counterFor(why)) }

// releasePermit releases a permit that has no connection. With the lock held.
func (p *Pool) releasePermit(b *backend, h holder, now time.Time) {
	p.charge(b, h, -1)
	b.permits--
	p.permits--
	p.grantWaiters(now)
}

// backendFor finds or creates the backend at addr. With the lock held.
func (p *Pool) backendFor(addr string) *backend {
	b := p.backends[addr]
	if b == nil {
		b = &backend{addr: addr}
		p.backends[addr] = b
		p.backendList = append(p.backendList, b)
	}
	return b
}

// unlockAndClose unlocks, and then closes the connections that were retired.
func (p *Pool) unlockAndClose() {
	doomed := p.toClose
	p.toClose = nil
	p.mu.Unlock()
	for _, l := range doomed {
		l.Close()
	}
}
