package main

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part3-pipelining/server"
)

// BenchmarkPipelined keeps a number of requests in flight on one connection.
// Time and allocations are those of server and client for one request.
func BenchmarkPipelined(b *testing.B) {
	for name, depth := range map[string]int{"depth 1": 1, "depth 16": 16, "depth 64": 64} {
		b.Run(name, func(b *testing.B) {
			r := startServer(b, func(s *server.Server) { s.Log = slog.New(slog.DiscardHandler) })
			c := converse(b, r.addr, get("/"))
			head := make([]byte, 4096)
			n, err := c.Read(head)
			require.NoError(b, err)
			batch, answers := strings.Repeat(get("/"), depth), make([]byte, n*depth)
			c.SetDeadline(time.Now().Add(time.Hour))
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

// BenchmarkConnectWhenFull measures a client that connects, sends one request
// and closes while all other connections wait for slow handlers: what they cost
// it.
func BenchmarkConnectWhenFull(b *testing.B) {
	for name, busy := range map[string]int{"1 busy": 1, "2000 busy": 2000} {
		b.Run(name, func(b *testing.B) {
			block := make(chan struct{})
			began := make(chan string, busy)
			r := startServer(b, func(s *server.Server) { s.Limits.Connections = busy + 1 }, withHandler(func(w *server.Response, r *server.Request) {
				if string(r.Path) == "/slow" {
					began <- "a slow one"
					<-block
				}
				w.WriteString("done\n")
			}))
			for range busy {
				converse(b, r.addr, get("/slow"))
				receive(b, began, "a slow one")
			}
			for b.Loop() {
				c := converse(b, r.addr, get("/", closeField))
				io.Copy(io.Discard, c)
				c.Close()
			}
			close(block)
		})
	}
}
