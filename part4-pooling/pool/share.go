package pool

import (
	"net/netip"
	"sync/atomic"
)

// Leave as much: a client that takes from a shared resource leaves at least as much
// of it as the client has.
//
// Without this rule one client could take everything: 32 pipelined requests for
// something slow, 1,200 bytes, held all 32 connections to a backend for a minute, and
// every other client waited for 5 s and got 503. A fixed share would depend on how many
// clients there will be. This rule does not: of n connections a client that is alone
// gets half, the next one half of the rest, and so on (dynamic thresholds: Choudhury and
// Hahne, 1998). It holds at three levels:
//
//	a client at a backend     leaves as much of PerBackend: other clients can use that backend
//	a client at all backends  leaves as much of Total: other clients can use any backend
//	a backend                 leaves as much of Total, if that is too small for all: a slow backend does not starve the others
//
// A connection of a client has a fixed bound, half of what its client may have at a
// backend, whatever the client's other connections have.
//
// A client is an address, or with IPv6 its /64, which is what one customer has. So
// clients that share an address share its connections. And k addresses that each take
// their share leave n/2^k: 7 addresses take all of 64. Two bounds limit the harm: the time
// that a backend may take, and the length of the queue, to which the same rule applies. A
// caller for which the queue has no room fails immediately, not after MaxWait.
//
//	one client holds at most  ceil(PerBackend/2) connections to a backend, ceil(Total/2) in all,
//	                          and ceil(Queue/2) places in a backend's queue
//	one connection            half of what its client may have at a backend
//
// The pool's lock guards all of this.

// fits reports whether a client that has some of a resource may take one more: out of most
// are in use, its own included, and it must leave at least as many as it then has.
func fits(has, out, most int) bool { return has < most-out }

// A holder is the client and the line that have a permit or wait for one. If the client
// is nil, only the pool's own limits apply.
type holder struct {
	client *account
	line   *Line
}

// An account counts what a client has of a pool.
type account struct {
	held    int          // permits for leased and dialled connections, of all backends
	waiting atomic.Int64 // places in queues; written with the lock held
	shares  []share
	swept   bool // sweepAccounts has removed it
}

// A share is what a client or a line has of one backend.
type share struct {
	backend       *backend
	held, waiting int // permits; places in the queue, counted for clients only
}

// shareOf finds or creates the share of b. There are at most as many as backends.
func shareOf(all *[]share, b *backend) *share {
	for i := range *all {
		if (*all)[i].backend == b {
			return &(*all)[i]
		}
	}
	*all = append(*all, share{backend: b})
	return &(*all)[len(*all)-1]
}

// holderFor returns the holder for a request in line of the client at addr. It finds or
// creates the client's account.
func (p *Pool) holderFor(addr netip.Addr, line *Line) holder {
	if !addr.IsValid() || p.Limits.OneClient {
		return holder{line: line}
	}
	if line != nil && line.client != nil && !line.client.swept {
		return holder{line.client, line}
	}
	key := ClientOf(addr)
	c := p.clients[key]
	if c == nil {
		c = &account{}
		p.clients[key] = c
	}
	if line != nil {
		line.client = c
	}
	return holder{c, line}
}

// ClientOf returns the address that stands for the client of addr.
func ClientOf(addr netip.Addr) netip.Addr {
	if addr = addr.Unmap(); addr.Is4() {
		return addr
	}
	prefix, _ := addr.Prefix(64) // and without the zone
	return prefix.Addr()
}

// sweepAccounts removes the accounts of clients that hold and wait for nothing.
func (p *Pool) sweepAccounts() {
	for addr, c := range p.clients {
		if c.held == 0 && c.waiting.Load() == 0 {
			c.swept = true
			delete(p.clients, addr)
		}
	}
}

// charge adds n, which may be negative, to the permits in use by h.
func (p *Pool) charge(b *backend, h holder, n int) {
	b.inUse += n
	p.inUse += n
	if h.client != nil {
		h.client.held += n
		shareOf(&h.client.shares, b).held += n
	}
	if h.line != nil {
		shareOf(&h.line.shares, b).held += n
	}
}

// mayTake reports whether h may take a connection to b. It answers for a moment at which
// lessHere fewer connections are in use at that backend, and less fewer in all.
func (p *Pool) mayTake(b *backend, h holder, lessHere, less int) bool {
	here, all, c := b.inUse-lessHere, p.inUse-less, h.client
	scarce := len(p.backendList)*p.Limits.PerBackend > p.Limits.Total // the backends together may exceed Total
	switch {
	case here >= p.Limits.PerBackend || all >= p.Limits.Total || scarce && !fits(here, all, p.Limits.Total):
		return false
	case c == nil:
		return true
	}
	mine := shareOf(&c.shares, b).held
	return fits(mine, here, p.Limits.PerBackend) && fits(c.held, all, p.Limits.Total) &&
		(h.line == nil || shareOf(&h.line.shares, b).held < half(half(p.Limits.PerBackend)))
}

// half returns how many of n a client may have.
func half(n int) int { return (n + 1) / 2 }

// mayQueue reports whether h may take a place in b's queue.
func (p *Pool) mayQueue(b *backend, h holder) bool {
	has := 0
	if h.client != nil {
		has = shareOf(&h.client.shares, b).waiting
	}
	return p.Limits.Queue == 0 || fits(has, b.queue.length, p.Limits.Queue)
}

// noteWanted records which connections a queued caller could use if they came back:
// those of a backend, or any. A caller whose own client's share holds it back is not
// helped by other clients' connections (ShouldReturn).
func (p *Pool) noteWanted() {
	p.anyWanted = false
	any := false
	for _, b := range p.backendList {
		here, atLimit := false, b.inUse == p.Limits.PerBackend // then other backends' connections help none of its callers
		for w := b.queue.first; w != nil && !(here && (any || atLimit)); w = w.next {
			here = here || p.mayTake(b, w.holder, 1, 1)
			any = any || p.mayTake(b, w.holder, 0, 1)
		}
		b.wanted.Store(here)
		p.anyWanted = p.anyWanted || here
	}
	p.wanted.Store(any)
	p.anyWanted = p.anyWanted || any
}
