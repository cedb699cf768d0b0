package pool

import (
	"errors"
	"slices"
	"time"

	"socketup/part4-pooling/client"
)

// What happens to a pool beside get and put: connections that nobody asks for go,
// those of a paused server go at once, and somebody wants to know.

// StartEvictor lets evict run every interval until close.
func (p *Pool) StartEvictor(interval time.Duration) {
	p.stopEvictor = make(chan struct{})
	stop := p.stopEvictor
	go func() { // ends with close
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

// evict closes the idle connections whose time is up, and those that have died: their
// servers closed them, and while nobody asks nobody else would notice. It looks
// at idle connections only. One that is leased is not on the list: take removes it
// first.
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

// DropAll closes every connection to addr: the idle ones now, those in use when they
// come back, those being dialled after their first use. It returns how many
// were idle. Call it when the server is paused, moved or restarted: its kernel
// keeps answering for it, so no check can tell.
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

// Close fails all who wait, closes what is idle, and closes the rest as it
// comes back. It waits for nobody.
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
	if p.stopEvictor != nil {
		close(p.stopEvictor)
	}
}

// Counts are of what has happened since the pool was made.
type Counts struct {
	Dialled     uint64 `json:"dialled"`
	DialFailed  uint64 `json:"dial_failed"`
	Reused      uint64 `json:"reused"`
	Waited      uint64 `json:"waited"`      // callers who found everything in use
	GaveUp      uint64 `json:"gave_up"`     // of those
	TurnedAway  uint64 `json:"turned_away"` // callers for whom there was no room in the queue
	Stale       uint64 `json:"stale"`       // closed by the server, and found out by a check
	Unsolicited uint64 `json:"unsolicited"` // had bytes that nobody asked for
	Expired     uint64 `json:"expired"`     // too long idle, or too old
	Dropped     uint64 `json:"dropped"`     // by dropAll or close
	Displaced   uint64 `json:"displaced"`   // made room for another backend
	Broken      uint64 `json:"broken"`      // of no use after an exchange
	Retried     uint64 `json:"retried"`
}

// counterFor is the count that a reason for closing belongs to.
func (c *Counts) counterFor(why error) *uint64 {
	switch {
	case errors.Is(why, client.ErrUnsolicited):
		return &c.Unsolicited
	case errors.Is(why, client.ErrEnded):
		return &c.Stale
	case errors.Is(why, ErrQuarantined):
		return &c.Dropped
	}
	return &c.Broken
}

// Stats is a pool at one moment. Leased connections, idle ones and those being
// dialled add up to permits.
type Stats struct {
	Permits  int            `json:"permits"`
	Max      int            `json:"max"`
	Backends []backendStats `json:"backends"`
}

type backendStats struct {
	Addr    string `json:"addr"`
	Leased  int    `json:"leased"` // or being dialled
	Idle    int    `json:"idle"`
	Waiting int    `json:"waiting"`
	Max     int    `json:"max"`
	Counts
}

func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.unlockAndClose()
	s := Stats{Permits: p.permits, Max: p.Limits.Total}
	for _, b := range p.backendList {
		s.Backends = append(s.Backends, backendStats{
			Addr: b.addr, Leased: b.inUse, Idle: len(b.idle), Waiting: b.queue.length + b.following,
			Max: p.Limits.PerBackend, Counts: b.counts,
		})
	}
	return s
}

// ShouldReturn says whether l had better be put back: its time is up, it was
// dropped, or somebody waits for a connection who could then have one, or who has the
// same address. An engine that is never idle would keep it for ever.
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

// IsQuarantined says whether the backend at addr has lately sent what nobody asked for.
// It takes the lock only if one of them ever has.
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

// ReportFault tells the pool why l is of no use, though it is not given back yet.
func (l *Lease) ReportFault() {
	p := l.pool
	now := p.Now()
	p.mu.Lock()
	defer p.unlockAndClose()
	p.quarantine(l.backend, l.Fault, now)
}

// IsQuarantined says so of the backend that l is a connection to.
func (l *Lease) IsQuarantined() bool { return l.pool.IsQuarantined(l.backend.addr) }

// A Event is what has happened to connections, by its name in metrics, and how often.
type Event struct {
	Name  string
	Count uint64
}

// Events are all counts, by name.
func (c *Counts) Events() []Event {
	return []Event{
		{"dialled", c.Dialled}, {"dial_failed", c.DialFailed}, {"reused", c.Reused}, {"waited", c.Waited}, {"gave_up", c.GaveUp}, {"turned_away", c.TurnedAway},
		{"stale", c.Stale}, {"unsolicited", c.Unsolicited}, {"expired", c.Expired}, {"dropped", c.Dropped},
		{"displaced", c.Displaced}, {"broken", c.Broken}, {"retried", c.Retried},
	}
}

// Backend is what p has of the backend at addr.
func (s Stats) Backend(addr string) backendStats {
	for _, b := range s.Backends {
		if b.Addr == addr {
			return b
		}
	}
	return backendStats{}
}
