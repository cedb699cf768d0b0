package pool

import (
	"errors"
	"time"

	"socketup/part4-pooling/client"
)

// A backend that has sent unsolicited bytes is quarantined: for a while the pool
// keeps no connection to it. A check finds most such bytes, but not those that
// arrive just after the next request was sent: no client can tell them from the
// response to it. A server that does it once does it again, so each request gets
// a connection of its own.

// quarantine quarantines b if why is client.ErrUnsolicited: its idle connections
// are closed now, its leased ones when they return. With the lock held.
func (p *Pool) quarantine(b *backend, why error, now time.Time) {
	if errors.Is(why, client.ErrUnsolicited) && p.Limits.Quarantine > 0 {
		b.quarantinedUntil = now.Add(p.Limits.Quarantine)
		p.anyQuarantined.Store(true)
		b.generation++
		p.dropIdle(b)
	}
}

// IsQuarantined reports whether the backend at addr is in quarantine. It takes the
// lock only if some backend has ever been.
func (p *Pool) IsQuarantined(addr string) bool {
	if !p.anyQuarantined.Load() {
		return false
	}
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	b := p.backends[addr]
	return b != nil && now.Before(b.quarantinedUntil)
}

// IsQuarantined reports whether the backend of l is in quarantine.
func (l *Lease) IsQuarantined() bool { return l.pool.IsQuarantined(l.backend.addr) }

// ReportFault quarantines the backend if l.Fault is client.ErrUnsolicited. It does
// not end the lease.
func (l *Lease) ReportFault() {
	p := l.pool
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	p.quarantine(l.backend, l.Fault, now)
}
