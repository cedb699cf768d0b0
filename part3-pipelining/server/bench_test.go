//go:build linux

package server

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Compared with other servers in notes/bench; here, what a change costs.

// BenchmarkBetweenReadAndWrite is what the server itself does for a request, 16
// of which came in one read, and whose answers leave in one write.
func BenchmarkBetweenReadAndWrite(b *testing.B) {
	r := start(b)
	null, err := unix.Open("/dev/null", unix.O_WRONLY, 0)
	require.NoError(b, err)
	defer unix.Close(null)
	c, batch := newTransport(r.Server, r.drivers[0].(*loop), &r.drivers[0].(*loop).mu, &r.drivers[0].(*loop).stock, null, netip.Addr{}), strings.Repeat(get("/"), 16)
	c.mu.Lock()
	defer c.mu.Unlock()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%16 == 0 {
			c.in.borrow()
			c.in.w = copy(c.in.room(), batch)
		}
		x := c.take()
		r.drivers[0].(*loop).token.offer(x.number)
		number := x.number
		c.mu.Unlock()
		x.answer()
		c.mu.Lock()
		r.drivers[0].(*loop).token.takeBack(number)
		c.finish(x)
		if i%16 == 15 {
			c.pause()
			c.act()
		}
	}
}
