package pool

import (
	"errors"

	"socketup/part4-pooling/client"
)

// Counts are numbers of events since the pool was created.
type Counts struct {
	Dialled     uint64 `json:"dialled"`     // dials that succeeded
	DialFailed  uint64 `json:"dial_failed"` // dials that failed
	Reused      uint64 `json:"reused"`      // idle connections handed out
	Waited      uint64 `json:"waited"`      // callers that had to wait
	GaveUp      uint64 `json:"gave_up"`     // waiters whose time or context ended
	TurnedAway  uint64 `json:"turned_away"` // callers for which the queue had no room
	Stale       uint64 `json:"stale"`       // closed by the server while idle
	Unsolicited uint64 `json:"unsolicited"` // unsolicited bytes
	Expired     uint64 `json:"expired"`     // idle too long, or too old
	Dropped     uint64 `json:"dropped"`     // by DropAll, Close or quarantine
	Displaced   uint64 `json:"displaced"`   // closed for another backend
	Broken      uint64 `json:"broken"`      // not reusable after an exchange
	Retried     uint64 `json:"retried"`     // connections replaced to send their requests again
	GivenBack   uint64 `json:"given_back"`  // given back because their responses waited for their turn
}

// counterFor returns the count for a connection that was closed because of why.
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

// Stats is the state of a pool at one moment. For each backend, Leased plus Idle is
// the number of its permits.
type Stats struct {
	Permits  int            `json:"permits"`
	Max      int            `json:"max"`
	Backends []BackendStats `json:"backends"`
}

// BackendStats are the figures of one backend: its connections at one moment, and what has
// happened to them since the pool was made.
type BackendStats struct {
	Addr    string `json:"addr"`
	Leased  int    `json:"leased"` // includes those being dialled
	Idle    int    `json:"idle"`
	Waiting int    `json:"waiting"`
	Max     int    `json:"max"`
	Counts
}

// Stats returns a consistent snapshot.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.unlockAndClose()
	s := Stats{Permits: p.permits, Max: p.Limits.Total}
	for _, b := range p.backendList {
		s.Backends = append(s.Backends, BackendStats{
			Addr: b.addr, Leased: b.inUse, Idle: len(b.idle), Waiting: b.queue.length + b.following,
			Max: p.Limits.PerBackend, Counts: b.counts,
		})
	}
	return s
}

// An Event is a kind of event by its name in the metrics, with its count.
type Event struct {
	Name  string
	Count uint64
}

// Events returns all counts with their names.
func (c *Counts) Events() []Event {
	return []Event{
		{"dialled", c.Dialled}, {"dial_failed", c.DialFailed}, {"reused", c.Reused}, {"waited", c.Waited}, {"gave_up", c.GaveUp}, {"turned_away", c.TurnedAway},
		{"stale", c.Stale}, {"unsolicited", c.Unsolicited}, {"expired", c.Expired}, {"dropped", c.Dropped},
		{"displaced", c.Displaced}, {"broken", c.Broken}, {"retried", c.Retried}, {"given_back", c.GivenBack},
	}
}

// Backend returns the state of the backend at addr, or zeros if the pool has not
// met it.
func (s Stats) Backend(addr string) BackendStats {
	for _, b := range s.Backends {
		if b.Addr == addr {
			return b
		}
	}
	return BackendStats{}
}
