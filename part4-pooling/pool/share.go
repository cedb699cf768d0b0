package pool

import (
	"net/netip"
	"sync/atomic"
)

// Leave as much: who takes from what all share leaves at least as much as it has.
//
// Without that one client can have all: 32 pipelined requests for something slow
// held all 32 connections to a backend for a minute, for 1,200 bytes, and
// everybody else was told 503 after 5 s. A fixed share would have to know how
// many clients there will be. This law need not: of n connections a client that
// is alone gets half, the next one half of what is left, and so on (dynamic
// thresholds: Choudhury and Hahne, 1998). It holds at four levels:
//
//	of                           no more than    so that
//	a connection of a client     a client's      one connection leaves as much for the client's others
//	a client at a backend        PerBackend      others get through to that backend
//	a client at all backends     Total           others get through to any
//	a backend                    Total           a slow backend leaves as much for the others, if Total is too small for all
//
// A client is an address, or with IPv6 its /64, which is what one customer has. So
// those who share an address share what it may have; and k addresses that ask for
// long, one after the other, leave n/2^k: 7 of them take all of 64. Against
// these there are the time that a backend may take, and a queue that is bounded by the same law:
// who finds no room in it is told so at once, and not after MaxWait.
//
//	one client holds at most  ceil(PerBackend/2) connections to a backend, ceil(Total/2) in all,
//	                          and ceil(Queue/2) places in a backend's queue
//	one connection            half of what its client may have at a backend
//
// All of this is guarded by the pool's lock.
func fits(has, out, most int) bool { return has < most-out }

// A holder is who has a permit, or waits for one. Without a client there is no limit but the pool's.
type holder struct {
	client *account
	line   *Line
}

// An account is what a client has of a pool.
type account struct {
	held    int          // permits, of all backends
	waiting atomic.Int64 // places in queues; changed with the lock held
	shares  []share
	swept   bool // it is not the client's any more
}

// A share is what one has of a backend.
type share struct {
	backend       *backend
	held, waiting int
}

// shareOf finds or makes the share of b. There are as many as there are backends.
func shareOf(all *[]share, b *backend) *share {
	for i := range *all {
		if (*all)[i].backend == b {
			return &(*all)[i]
		}
	}
	*all = append(*all, share{backend: b})
	return &(*all)[len(*all)-1]
}

// holderFor finds or makes the account of the client at addr.
func (p *Pool) holderFor(addr netip.Addr, line *Line) holder {
	if !addr.IsValid() || p.Limits.OneClient {
		return holder{line: line}
	}
	if line != nil && line.client != nil && !line.client.swept {
		return holder{line.client, line}
	}
	key := clientOf(addr)
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

// clientOf is what addresses of one client have in common.
func clientOf(addr netip.Addr) netip.Addr {
	if addr = addr.Unmap(); addr.Is4() {
		return addr
	}
	prefix, _ := addr.Prefix(64) // which also takes the zone away
	return prefix.Addr()
}

// sweepAccounts forgets the clients that have nothing.
func (p *Pool) sweepAccounts() {
	for addr, c := range p.clients {
		if c.held == 0 && c.waiting.Load() == 0 {
			c.swept = true
			delete(p.clients, addr)
		}
	}
}

// charge counts n more permits for h, or fewer.
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

// mayTake is the law for h and a connection to b. It can be asked for a moment to come, in
// which some less are in use: at that backend, and in all.
func (p *Pool) mayTake(b *backend, h holder, lessHere, less int) bool {
	here, all, c := b.inUse-lessHere, p.inUse-less, h.client
	scarce := len(p.backendList)*p.Limits.PerBackend > p.Limits.Total // not all can have all that they may
	switch {
	case here >= p.Limits.PerBackend || all >= p.Limits.Total || scarce && !fits(here, all, p.Limits.Total):
		return false
	case c == nil:
		return true
	}
	mine := shareOf(&c.shares, b).held
	return fits(mine, here, p.Limits.PerBackend) && fits(c.held, all, p.Limits.Total) &&
		(h.line == nil || fits(shareOf(&h.line.shares, b).held, mine, half(p.Limits.PerBackend)))
}

// half is what one may have of n.
func half(n int) int { return (n + 1) / 2 }

// mayQueue is the law for h and a place in b's queue.
func (p *Pool) mayQueue(b *backend, h holder) bool {
	has := 0
	if h.client != nil {
		has = shareOf(&h.client.shares, b).waiting
	}
	return p.Limits.Queue == 0 || fits(has, b.queue.length, p.Limits.Queue)
}

// noteWanted notes which connections would help a caller that waits, if they were given
// back: those to b, or any at all. What a client's own share keeps back nobody
// else can help (ShouldReturn).
func (p *Pool) noteWanted() {
	p.anyWanted = false
	any := false
	for _, b := range p.backendList {
		here := false
		for w := b.queue.first; w != nil && !(here && any); w = w.next {
			here = here || p.mayTake(b, w.holder, 1, 1)
			any = any || p.mayTake(b, w.holder, 0, 1)
		}
		b.wanted.Store(here)
		p.anyWanted = p.anyWanted || here
	}
	p.wanted.Store(any)
	p.anyWanted = p.anyWanted || any
}
