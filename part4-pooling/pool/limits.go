package pool

import (
	"errors"
	"flag"
	"time"
)

// Limits bound what a pool holds, and for how long.
type Limits struct {
	PerBackend int           // connections; one client has at most half of them (share.go)
	Total      int           // connections to all backends together; one client has at most half of them
	Queue      int           // callers that may wait for one backend, of each line only the first; one client has at most half of the places; 0: no bound
	OneClient  bool          // all callers are one client, which may have all connections
	MaxWait    time.Duration // of a caller, for a connection; 0: no bound
	Spare      time.Duration // for which a response that waits for its turn keeps its connection while others want one (giveback.go); 0: no bound
	IdleTime   time.Duration // of a connection; less if the server announced less
	Lifetime   time.Duration // of a connection, from its dial
	Quarantine time.Duration // during which no connection is kept to a backend that sent unsolicited bytes; 0: none
}

// DefaultLimits are the limits of the program's own clients and its gateway.
var DefaultLimits = Limits{
	PerBackend: 64,  // 8 to 32 keep a core busy, and one client has at most half of these
	Total:      512, // each is a descriptor
	Queue:      256, // 4 × PerBackend: a caller behind them would hardly be served within MaxWait
	MaxWait:    5 * time.Second,
	Spare:      500 * time.Millisecond, // an honest client that waits for such a connection does not notice; most responses have had their turn by then
	IdleTime:   4 * time.Second,        // Node.js and Apache close after 5 s: be first
	Lifetime:   10 * time.Minute,       // so that a load balancer gets to choose again
	Quarantine: 10 * time.Second,       // a new connection for each request costs some 60 µs; delivering another client's response is far worse
}

// AddFlags sets l to DefaultLimits and defines a flag on f for each limit.
func (l *Limits) AddFlags(f *flag.FlagSet) {
	*l = DefaultLimits
	f.IntVar(&l.PerBackend, "backend-connections", l.PerBackend, "maximum number of connections to one backend; one client, which is an address, has at most half of them, two have three quarters, and 7 can have all of 64")
	f.IntVar(&l.Total, "all-backend-connections", l.Total, "maximum number of connections to all backends together; one client has at most half of them")
	f.IntVar(&l.Queue, "backend-queue", l.Queue, "maximum number of client connections that wait for one backend, at most half of them of one client; others get 503 immediately; 0: no bound")
	f.BoolVar(&l.OneClient, "one-client", false, "one client may have all connections to backends: for a gateway that has only one client, and for measurements; -behind-proxy includes it")
	f.DurationVar(&l.MaxWait, "backend-wait", l.MaxWait, "how long a request may wait for a connection to a backend; then 503")
	f.DurationVar(&l.Spare, "backend-spare", l.Spare, "how long a response that waits for an earlier one of its client keeps its connection to a backend while other clients wait for one; then the request is sent again in its turn; 0: as long as it waits")
	f.DurationVar(&l.IdleTime, "backend-idle", l.IdleTime, "how long a connection to a backend is kept idle")
	f.DurationVar(&l.Lifetime, "backend-life", l.Lifetime, "how long a connection to a backend is kept at all")
	f.DurationVar(&l.Quarantine, "backend-quarantine", l.Quarantine, "how long no connection is kept to a backend that sent unsolicited bytes")
}

// Validate returns an error for limits that no pool can work with.
func (l *Limits) Validate() error {
	if l.MaxWait < 0 || l.Spare < 0 || l.Quarantine < 0 {
		return errors.New("-backend-wait, -backend-spare and -backend-quarantine: want at least 0")
	}
	if l.PerBackend < 1 || l.Total < 1 || l.Queue < 0 || l.IdleTime <= 0 || l.Lifetime <= 0 {
		return errors.New("-backend-connections and -all-backend-connections: want at least 1; -backend-queue: at least 0; -backend-idle and -backend-life: more than 0")
	}
	return nil
}

// idleDeadline is when a connection that becomes idle now expires. A server that
// announces a timeout (Keep-Alive) counts from the last byte it sent, and its
// clock is not ours: the margin keeps us from sending at the moment in which it
// closes.
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

// wallTime has no monotonic reading: the monotonic clock stops while a machine
// sleeps, and the idle timer of a server elsewhere does not.
func wallTime() time.Time { return time.Now().Round(0) }
