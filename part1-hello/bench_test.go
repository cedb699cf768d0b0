package main

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkConnections counts connections served per second: connect, one
// request, one response, close. net/http stands beside it with keep-alives off.
func BenchmarkConnections(b *testing.B) {
	b.Run("part1", func(b *testing.B) {
		r := startServer(b, func(s *server) { s.log = slog.New(slog.DiscardHandler) })
		benchmark(b, r.addr)
	})
	b.Run("nethttp", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "Hello, World!\n")
		})}
		s.SetKeepAlivesEnabled(false)
		go s.Serve(l) // ends with Close
		b.Cleanup(func() { s.Close() })
		benchmark(b, l.Addr().String())
	})
}

func benchmark(b *testing.B, addr string) {
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := requestOnce(addr); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "connections/s")
}
