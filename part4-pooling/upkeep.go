package main

import (
	"errors"
	"slices"
	"time"
)

// What happens to a pool beside get and put: links that nobody asks for go,
// those of a paused server go at once, and somebody wants to know.

// startEvictor lets evict run every interval until close.
func (p *pool) startEvictor(interval time.Duration) {
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

// evict closes the idle links whose time is up, and those that have died: their
// servers closed them, and while nobody asks nobody else would notice. It looks
// at idle links only. One that is leased is not on the list: take removes it
// first.
func (p *pool) evict() {
	now := p.now()
	p.mu.Lock()
	defer p.unlock()
	for _, b := range p.all {
		var found error
		b.idle = slices.DeleteFunc(b.idle, func(l *lease) bool {
			if !now.Before(l.expires) {
				p.retire(l, &b.counts.Expired)
			} else if why := l.check(); why != nil {
				p.discard(l, why)
				found = errors.Join(found, why)
			}
			return l.state == isClosed
		})
		p.distrust(b, found, now)
	}
	p.settle(now)
}

// dropAll closes every link to addr: the idle ones now, those in use when they
// come back, those being dialled after their first use. It returns how many
// were idle. Call it when the server is paused, moved or restarted: its kernel
// keeps answering for it, so no check can tell.
func (p *pool) dropAll(addr string) int {
	now := p.now()
	p.mu.Lock()
	defer p.unlock()
	b := p.backends[addr]
	if b == nil {
		return 0
	}
	b.generation++
	dropped := len(b.idle)
	p.clear(b)
	p.settle(now)
	return dropped
}

// clear retires all idle links of b. With the lock held.
func (p *pool) clear(b *backend) {
	for _, l := range b.idle {
		p.retire(l, &b.counts.Dropped)
	}
	clear(b.idle)
	b.idle = b.idle[:0]
}

// close fails all who wait, closes what is idle, and closes the rest as it
// comes back. It waits for nobody.
func (p *pool) close() {
	p.mu.Lock()
	defer p.unlock()
	if p.closed {
		return
	}
	p.closed = true
	for _, b := range p.all {
		p.clear(b)
		for b.queue.first != nil {
			p.deliver(b.queue.first, grant{err: ErrPoolClosed})
		}
	}
	if p.stopEvictor != nil {
		close(p.stopEvictor)
	}
}

// counts are of what has happened since the pool was made.
type counts struct {
	Dialled     uint64 `json:"dialled"`
	DialFailed  uint64 `json:"dial_failed"`
	Reused      uint64 `json:"reused"`
	Waited      uint64 `json:"waited"`      // callers who found everything in use
	GaveUp      uint64 `json:"gave_up"`     // of those
	Stale       uint64 `json:"stale"`       // closed by the server, and found out by a check
	Unsolicited uint64 `json:"unsolicited"` // had bytes that nobody asked for
	Expired     uint64 `json:"expired"`     // too long idle, or too old
	Dropped     uint64 `json:"dropped"`     // by dropAll or close
	Displaced   uint64 `json:"displaced"`   // made room for another backend
	Broken      uint64 `json:"broken"`      // of no use after an exchange
	Retried     uint64 `json:"retried"`
}

// of is the count that a reason for closing belongs to.
func (c *counts) of(why error) *uint64 {
	switch {
	case errors.Is(why, ErrUnsolicited):
		return &c.Unsolicited
	case errors.Is(why, ErrEnded):
		return &c.Stale
	case errors.Is(why, errUntrusted):
		return &c.Dropped
	}
	return &c.Broken
}

// poolStats is a pool at one moment. Leased links, idle ones and those being
// dialled add up to permits.
type poolStats struct {
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
	counts
}

func (p *pool) stats() poolStats {
	p.mu.Lock()
	defer p.unlock()
	s := poolStats{Permits: p.permits, Max: p.limits.total}
	for _, b := range p.all {
		s.Backends = append(s.Backends, backendStats{
			Addr: b.addr, Leased: b.permits - len(b.idle), Idle: len(b.idle), Waiting: b.queue.length,
			Max: p.limits.perBackend, counts: b.counts,
		})
	}
	return s
}

// recalled says whether l had better be put back: its time is up, it was
// dropped, or somebody waits for a connection. An engine that is never idle would keep it for ever.
func (l *lease) recalled() bool {
	p := l.pool
	if p.waiting.Load() > 0 {
		return true
	}
	now := p.now()
	p.mu.Lock()
	defer p.unlock()
	return p.closed || l.generation != l.backend.generation || !now.Before(l.born.Add(p.limits.life))
}

// isWary says whether the backend at addr has lately sent what nobody asked for.
// It takes the lock only if one of them ever has.
func (p *pool) isWary(addr string) bool {
	if !p.doubted.Load() {
		return false
	}
	now := p.now()
	p.mu.Lock()
	defer p.unlock()
	b := p.backends[addr]
	return b != nil && now.Before(b.wary)
}

// suspect tells the pool why l is of no use, though it is not given back yet.
func (l *lease) suspect() {
	p := l.pool
	now := p.now()
	p.mu.Lock()
	defer p.unlock()
	p.distrust(l.backend, l.found, now)
}

// isWary says so of the backend that l is a link to.
func (l *lease) isWary() bool { return l.pool.isWary(l.backend.addr) }

// A poolEvent is what has happened to connections, by its name in metrics, and how often.
type poolEvent struct {
	name string
	n    uint64
}

// events are all counts, by name.
func (c *counts) events() []poolEvent {
	return []poolEvent{
		{"dialled", c.Dialled}, {"dial_failed", c.DialFailed}, {"reused", c.Reused}, {"waited", c.Waited}, {"gave_up", c.GaveUp},
		{"stale", c.Stale}, {"unsolicited", c.Unsolicited}, {"expired", c.Expired}, {"dropped", c.Dropped},
		{"displaced", c.Displaced}, {"broken", c.Broken}, {"retried", c.Retried},
	}
}

// of is what p has of the backend at addr.
func (s poolStats) of(addr string) backendStats {
	for _, b := range s.Backends {
		if b.Addr == addr {
			return b
		}
	}
	return backendStats{}
}
