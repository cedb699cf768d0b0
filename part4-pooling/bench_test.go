package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// canned is the fastest server there is: it answers each read with the same bytes.
func canned(b testing.TB) string {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, World!\n")
	return scriptedServer(b, func(c *net.TCPConn, _ int) {
		in := make([]byte, 4<<10)
		for _, err := c.Read(in); err == nil; _, err = c.Read(in) {
			c.Write(answer)
		}
	}).addr
}

// BenchmarkClient counts calls per second by 64 callers: this pool with 32
// connections, and net/http's with as many. notes/bench/pool has more peers.
func BenchmarkClient(b *testing.B) {
	const callers, connections = 64, 32
	b.Run("pool", func(b *testing.B) {
		addr, p := canned(b), newPool(poolDefaults)
		defer p.close()
		c := getting("/")
		b.SetParallelism(callers / 2)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				r, err := p.roundTrip(context.Background(), addr, c, &usual)
				if err != nil {
					b.Error(err)
					return
				}
				if _, err := r.next(); err != nil {
					b.Error(err)
				}
				r.close()
			}
		})
	})
	b.Run("nethttp", func(b *testing.B) {
		addr := canned(b)
		t := &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, DisableCompression: true}
		defer t.CloseIdleConnections()
		r, err := http.NewRequest("GET", "http://"+addr+"/", nil)
		require.NoError(b, err)
		b.SetParallelism(callers / 2)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				answer, err := t.RoundTrip(r)
				if err != nil {
					b.Error(err)
					return
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
			}
		})
	})
}

// BenchmarkPipeline is 64 callers on one connection.
func BenchmarkPipeline(b *testing.B) {
	l, err := dialLink(b.Context(), pipelined(b), limit)
	require.NoError(b, err)
	p := newPipeline(l, usual)
	defer p.close()
	c := getting("/")
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			f, err := p.send(context.Background(), c)
			if err == nil {
				_, err = f.wait(context.Background())
			}
			if err != nil {
				b.Error(err)
				return
			}
			f.free()
		}
	})
}

// pipelined answers every request in what it has read at once.
func pipelined(b *testing.B) string {
	answer := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, World!\n"
	size := len(getting("/").appendTo(nil))
	return scriptedServer(b, func(c *net.TCPConn, _ int) {
		in, out, had := make([]byte, 64<<10), []byte(nil), 0
		for n, err := c.Read(in); err == nil; n, err = c.Read(in) {
			had += n
			for out = out[:0]; had >= size; had -= size {
				out = append(out, answer...)
			}
			c.Write(out)
		}
	}).addr
}

// BenchmarkGateway is 32 clients, each with a connection and one request at a
// time: through this gateway, and through net/http's.
func BenchmarkGateway(b *testing.B) {
	b.Run("gateway", func(b *testing.B) {
		p := newPool(poolDefaults)
		defer p.close()
		g := newGateway(p, []prefix{{path: "/", addr: canned(b)}})
		askInTurn(b, start(b, handing(g)).addr)
	})
	b.Run("nethttp", func(b *testing.B) {
		g := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: canned(b)})
		g.Transport = &http.Transport{MaxConnsPerHost: 32, MaxIdleConnsPerHost: 32}
		s := httptest.NewServer(g)
		defer s.Close()
		askInTurn(b, s.Listener.Addr().String())
	})
}

// askInTurn lets 32 clients ask for / at addr and read the answer, again and again.
func askInTurn(b *testing.B, addr string) {
	b.SetParallelism(max(1, 32/runtime.GOMAXPROCS(0)))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c, in := dial(b, addr), make([]byte, 4<<10)
		request := []byte(get("/"))
		for pb.Next() {
			c.Write(request)
			n, err := c.Read(in)
			if err != nil || !bytes.HasSuffix(in[:n], []byte("\r\n\r\nHello, World!\n")) {
				b.Errorf("%q, %v", in[:n], err)
				return
			}
		}
	})
}
