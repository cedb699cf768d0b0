package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
)

// BenchmarkClient measures requests from 64 concurrent callers: through this
// pool with 32 connections, and through net/http's with as many.
// notes/bench/pool compares more clients.
func BenchmarkClient(b *testing.B) {
	const callers, connections = 64, 32
	b.Run("pool", func(b *testing.B) {
		limits := pool.DefaultLimits
		limits.PerBackend = connections
		addr, p := testutil.ServeCanned(b), pool.New(limits)
		defer p.Close()
		c := getRequest("/")
		b.SetParallelism(callers / 2)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				r, err := p.RoundTrip(context.Background(), addr, c, &client.DefaultTimeouts)
				if err != nil {
					b.Error(err)
					return
				}
				if _, err := r.Next(); err != nil {
					b.Error(err)
				}
				r.Close()
			}
		})
	})
	b.Run("nethttp", func(b *testing.B) {
		addr := testutil.ServeCanned(b)
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

// BenchmarkGateway measures 32 clients, each with one connection and one
// request at a time: through this gateway, and through net/http's.
func BenchmarkGateway(b *testing.B) {
	b.Run("gateway", func(b *testing.B) {
		p := pool.New(pool.DefaultLimits)
		defer p.Close()
		g := gateway.New(p, []gateway.Backend{{Path: "/", Addr: testutil.ServeCanned(b)}})
		askInTurn(b, startServer(b, withOffload(g)).addr)
	})
	b.Run("nethttp", func(b *testing.B) {
		g := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: testutil.ServeCanned(b)})
		g.Transport = &http.Transport{MaxConnsPerHost: 32, MaxIdleConnsPerHost: 32}
		s := httptest.NewServer(g)
		defer s.Close()
		askInTurn(b, s.Listener.Addr().String())
	})
}

// askInTurn runs 32 clients that each send GET / to addr and read the response,
// repeatedly.
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
