package pool

import (
	"fmt"
	"slices"
)

// What the model of the pool checks after every step.

// check checks the invariants.
func (m *poolModel) check() {
	p := m.p
	p.mu.Lock()
	defer p.mu.Unlock()
	permits, inUse, waiting, queued := 0, 0, 0, 0
	for _, w := range m.waiters {
		if w.queued {
			queued++
		}
	}
	for _, b := range p.backends {
		mine := len(b.idle)
		for _, l := range m.leased {
			if l.backend == b {
				mine++
			}
		}
		for _, d := range m.dialling {
			if d.b == b {
				mine++
			}
		}
		for _, w := range m.waiters {
			if w.backend == b && !w.queued && m.hasPermit(w) {
				mine++ // delivered and not collected yet
			}
		}
		m.require(b.permits == mine, "%s: %d permits are out, but %d connections are leased, delivered, idle or being dialled", b.addr, b.permits, mine)
		m.require(b.permits <= p.Limits.PerBackend, "%s: %d permits, more than PerBackend", b.addr, b.permits)
		for _, l := range b.idle {
			m.require(l.state == leaseIdle && !slices.Contains(m.leased, l), "%s: an idle connection is also leased", b.addr)
			m.require(l.generation == b.generation, "%s: an idle connection is older than the last DropAll", b.addr)
			m.require(!m.clock.Before(b.quarantinedUntil), "%s: a connection to a quarantined backend is idle", b.addr)
		}
		m.require(b.inUse == b.permits-len(b.idle), "%s: %d of %d permits are in use, but %d connections are idle", b.addr, b.inUse, b.permits, len(b.idle))
		permits += b.permits
		inUse += b.inUse
		waiting += b.queue.length + b.following
	}
	m.require(p.inUse == inUse, "%d permits are in use, %d by addition", p.inUse, inUse)
	m.checkShares()
	m.checkLines()
	m.checkSuspended()
	m.require(p.permits == permits && permits <= p.Limits.Total, "%d permits are out, %d by addition, of %d", p.permits, permits, p.Limits.Total)
	m.require(waiting == queued, "%d are waiting, the model has %d", waiting, queued)
}

func (m *poolModel) require(ok bool, format string, args ...any) {
	if !ok {
		m.t.Fatalf("%s\n%v", fmt.Sprintf(format, args...), m)
	}
}

// hasPermit reports whether what was delivered to w is a permit. It leaves it there.
func (m *poolModel) hasPermit(w *waiter) bool {
	g := <-w.ready
	w.ready <- g
	return g.err == nil
}

// holders calls f for each holder of a permit, by the model's own lists.
func (m *poolModel) holders(f func(b *backend, h holder, number uint64)) {
	for _, l := range m.leased {
		f(l.backend, l.holder, m.numbers[l])
	}
	for _, d := range m.dialling {
		f(d.b, d.g.holder, d.number)
	}
	for _, w := range m.waiters {
		if !w.queued && m.hasPermit(w) {
			f(w.backend, w.holder, w.number)
		}
	}
}

// checkShares compares what clients have with the model's own sums, and with the bounds
// that share.go states.
func (m *poolModel) checkShares() {
	type at struct {
		who any
		b   *backend
	}
	has, all := map[at]int{}, map[*account]int{}
	m.holders(func(b *backend, h holder, _ uint64) {
		has[at{h.client, b}]++
		has[at{h.line, b}]++
		all[h.client]++
	})
	limits := &m.p.Limits
	scarce := len(m.p.backendList)*limits.PerBackend > limits.Total
	for _, c := range m.p.clients {
		m.require(c.held == all[c], "a client has %d permits, the pool counts %d", all[c], c.held)
		m.require(c.held <= half(limits.Total), "a client has %d permits of %d: %s", c.held, limits.Total, ruleShare)
		for _, s := range c.shares {
			m.require(s.held == has[at{c, s.backend}], "%s: a client has %d permits, the pool counts %d", s.backend.addr, has[at{c, s.backend}], s.held)
			m.require(s.held <= half(limits.PerBackend), "%s: a client has %d of %d: %s", s.backend.addr, s.held, limits.PerBackend, ruleShare)
			m.require(limits.Queue == 0 || s.waiting <= half(limits.Queue), "%s: a client has %d places of %d: %s", s.backend.addr, s.waiting, limits.Queue, ruleShare)
		}
	}
	for _, l := range m.lines {
		for _, s := range l.shares {
			m.require(s.held == has[at{l, s.backend}], "%s: a line has %d permits, the pool counts %d", s.backend.addr, has[at{l, s.backend}], s.held)
			m.require(limits.OneClient || s.held <= half(half(limits.PerBackend)), "%s: a line has %d of %d: %s", s.backend.addr, s.held, limits.PerBackend, ruleShare)
		}
	}
	for _, b := range m.p.backendList {
		// What a backend had before others were known it keeps, but it takes no more.
		m.require(!scarce || b.inUse <= max(half(limits.Total), m.before[b]), "%s: the backend has %d of %d: %s", b.addr, b.inUse, limits.Total, ruleShare)
		m.before[b] = b.inUse
		m.require(limits.Queue == 0 || b.queue.length <= limits.Queue, "%s: %d callers wait, in a queue for %d", b.addr, b.queue.length, limits.Queue)
		for w := b.queue.first; w != nil; w = w.next {
			m.require(w.prev == nil || w.prev.ticket < w.ticket, "%s: the queue is not in order", b.addr)
			free := b.inUse < limits.PerBackend && m.p.inUse < limits.Total && (!scarce || b.inUse < limits.Total-m.p.inUse)
			if free && w.client != nil {
				mine := has[at{w.client, b}]
				free = mine < limits.PerBackend-b.inUse && all[w.client] < limits.Total-m.p.inUse &&
					has[at{w.line, b}] < half(half(limits.PerBackend))
			}
			m.require(!free, "%s: a caller waits although it could be served", b.addr)
		}
	}
}

// checkLines checks the law of line.go. A request that asks again has had its permit once.
func (m *poolModel) checkLines() {
	heads, oldest, first := map[*Line]int{}, map[*Line]uint64{}, map[*Line]uint64{}
	for _, w := range m.waiters {
		if w.queued && w.line != nil {
			if w.line.head == w {
				heads[w.line]++
			}
			if n := oldest[w.line]; n == 0 || w.number < n {
				oldest[w.line] = w.number
			}
			if n := first[w.line]; !w.again && (n == 0 || w.number < n) {
				first[w.line] = w.number
			}
			m.require(w.line.newest.Load() >= w.number, "request %d of a line waits, but newest is %d", w.number, w.line.newest.Load())
		}
	}
	for l, n := range oldest {
		m.require(heads[l] == 1 && l.head.number == n || l.head == nil && l.suspended > 0, "the head of a line is not its oldest waiting request")
	}
	m.holders(func(b *backend, h holder, number uint64) {
		n := first[h.line]
		m.require(h.line == nil || n == 0 || number < n, "%s: request %d of a line has a permit, but the earlier request %d waits for one", b.addr, number, n)
	})
}
