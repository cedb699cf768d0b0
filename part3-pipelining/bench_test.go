//go:build linux

package main

import (
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Compared with other servers in notes/bench; here, what a change costs.

func BenchmarkParse(b *testing.B) {
	for name, head := range map[string]string{
		"40 bytes": "GET / HTTP/1.1\r\nHost: socket.up:8080\r\n\r\n",
		"400 bytes": get("/", "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n",
			"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n",
			"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef\r\n"),
	} {
		b.Run(name, func(b *testing.B) {
			var r request
			head := []byte(head)
			b.ReportAllocs()
			b.SetBytes(int64(len(head)))
			for b.Loop() {
				n := findHead(head, 0)
				if r.parse(head[:n], 100) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}

// BenchmarkBetweenReadAndWrite is what the server itself does for a request, 16
// of which came in one read, and whose answers leave in one write.
func BenchmarkBetweenReadAndWrite(b *testing.B) {
	r := start(b)
	null, err := unix.Open("/dev/null", unix.O_WRONLY, 0)
	require.NoError(b, err)
	defer unix.Close(null)
	c, batch := newTransport(r.server, r.drivers[0].(*loop), &r.drivers[0].(*loop).mu, &r.drivers[0].(*loop).stock, null, netip.Addr{}), strings.Repeat(get("/"), 16)
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

// BenchmarkPipelined is a connection with so many requests in flight: time and
// allocations are the server's and the client's for one request.
func BenchmarkPipelined(b *testing.B) {
	for name, depth := range map[string]int{"depth 1": 1, "depth 16": 16, "depth 64": 64} {
		b.Run(name, func(b *testing.B) {
			r := start(b, func(s *server) { s.log = slog.New(slog.DiscardHandler) })
			c := converse(b, r.addr, get("/"))
			head := make([]byte, 4096)
			n, err := c.Read(head)
			require.NoError(b, err)
			batch, answers := strings.Repeat(get("/"), depth), make([]byte, n*depth)
			c.SetDeadline(longAgo.AddDate(1000, 0, 0))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%depth == 0 {
					io.WriteString(c, batch)
					io.ReadFull(c, answers)
				}
			}
		})
	}
}

// BenchmarkConnectWhenFull is a client that connects, asks and leaves when all
// other places are taken by connections that wait for slow handlers: what the
// others cost the one.
func BenchmarkConnectWhenFull(b *testing.B) {
	for name, busy := range map[string]int{"1 busy": 1, "2000 busy": 2000} {
		b.Run(name, func(b *testing.B) {
			block := make(chan struct{})
			began := make(chan string, busy)
			r := start(b, func(s *server) { s.limits.connections = busy + 1 }, with(func(w *response, r *request) {
				if string(r.path) == "/slow" {
					began <- "a slow one"
					<-block
				}
				w.text("done\n")
			}))
			for range busy {
				converse(b, r.addr, get("/slow"))
				soon(b, began, "a slow one")
			}
			for b.Loop() {
				c := converse(b, r.addr, get("/", closing))
				io.Copy(io.Discard, c)
				c.Close()
			}
			close(block)
		})
	}
}
