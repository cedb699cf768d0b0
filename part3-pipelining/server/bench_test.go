//go:build linux

package server

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// notes/bench compares the server with others; this benchmark shows what a change costs.

// BenchmarkRequestCycle measures the server's own work for one request, when 16 arrive in
// one read and their responses are sent in one write.
func BenchmarkRequestCycle(b *testing.B) {
	r := startServer(b)
	null, err := unix.Open("/dev/null", unix.O_WRONLY, 0)
	require.NoError(b, err)
	defer unix.Close(null)
	c, batch := newTransport(r.Server, r.drivers[0].(*loop), &r.drivers[0].(*loop).mu, &r.drivers[0].(*loop).cache, null, netip.Addr{}), strings.Repeat(get("/"), 16)
	c.mu.Lock()
	defer c.mu.Unlock()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%16 == 0 {
			c.input.acquire()
			c.input.w = copy(c.input.free(), batch)
		}
		x := c.takeRequest()
		r.drivers[0].(*loop).token.offer(x.seq)
		number := x.seq
		c.mu.Unlock()
		x.run()
		c.mu.Lock()
		r.drivers[0].(*loop).token.reclaim(number)
		c.complete(x)
		if i%16 == 15 {
			c.endTurn()
			c.runActions()
		}
	}
}
