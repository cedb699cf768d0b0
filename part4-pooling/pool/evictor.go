package pool

import (
	"errors"
	"slices"
	"time"
)

// What ends connections other than their last request: the evictor, DropAll and
// Close.

// StartEvictor starts a goroutine that closes expired and dead idle connections
// every interval, until Close. Call it at most once.
func (p *Pool) StartEvictor(interval time.Duration) {
	p.stopEvictor = make(chan struct{})
	stop := p.stopEvictor
	go func() { // ends with Close
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				p.evict()
			case <-stop:
				return
			}
		}
	}()
}

// evict closes the idle connections that have expired, and those that fail their
// check: their servers have closed them, and without a request no caller would
// notice. It never touches a leased connection, which is not in the idle list:
// take has removed it.
func (p *Pool) evict() {
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	for _, b := range p.backendList {
		var found error
		b.idle = slices.DeleteFunc(b.idle, func(l *Lease) bool {
			if !now.Before(l.expires) {
				p.retire(l, &b.counts.Expired)
			} else if why := l.CheckIdle(); why != nil {
				p.retireBroken(l, why)
				found = errors.Join(found, why)
			}
			return l.state == leaseClosed
		})
		p.quarantine(b, found, now)
	}
	p.sweepAccounts()
	p.grantWaiters(now)
}

// DropAll closes every connection to addr: idle ones now, leased ones when they
// return, and those being dialled after their first use. It returns how many were
// idle. Call it when the server is paused, moved or restarted: a paused server's
// kernel still acknowledges, so no check can tell.
func (p *Pool) DropAll(addr string) int {
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	b := p.backends[addr]
	if b == nil {
		return 0
	}
	b.generation++
	dropped := len(b.idle)
	p.dropIdle(b)
	p.grantWaiters(now)
	return dropped
}

// dropIdle retires all idle connections of b. With the lock held.
func (p *Pool) dropIdle(b *backend) {
	for _, l := range b.idle {
		p.retire(l, &b.counts.Dropped)
	}
	clear(b.idle)
	b.idle = b.idle[:0]
}

// ShouldReturn reports whether the holder of l should end the lease soon: its
// lifetime is over, it was dropped, the pool is closed, or a caller waits that could
// then have a connection, or that belongs to the same client. A holder that is never
// idle, such as an engine, must ask, or it keeps the connection for ever.
func (l *Lease) ShouldReturn() bool {
	p := l.pool
	if p.queued.Load() > 0 && (l.backend.wanted.Load() || p.wanted.Load() || l.client != nil && l.client.waiting.Load() > 0) {
		return true
	}
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	return p.closed || l.generation != l.backend.generation || !now.Before(l.dialledAt.Add(p.Limits.Lifetime))
}

// Retire ends the lease of a connection that no other caller can use, because it speaks HTTP/2,
// and closes it. It is counted by l.Fault; without one, as dropped or expired.
func (l *Lease) Retire() {
	p := l.pool
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	count := &l.backend.counts.Expired
	switch {
	case l.Fault != nil:
		count = l.backend.counts.counterFor(l.Fault)
	case p.closed || l.generation != l.backend.generation:
		count = &l.backend.counts.Dropped
	}
	p.retire(l, count)
	p.grantWaiters(now)
}

// Close fails all waiting callers with ErrClosed, and later ones too. It closes
// idle connections now and leased ones when they return. It does not wait for
// them, and may be called again.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.unlockAndClose()
	if p.closed {
		return
	}
	p.closed = true
	for _, b := range p.backendList {
		p.dropIdle(b)
		for b.queue.first != nil {
			p.deliver(b.queue.first, grant{err: ErrClosed})
		}
	}
	for line := range p.suspended {
		p.promote(line)
	}
	if p.stopEvictor != nil {
		close(p.stopEvictor)
	}
}
