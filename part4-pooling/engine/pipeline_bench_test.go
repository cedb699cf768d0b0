package engine

import (
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/internal/testutil"
)

// BenchmarkPipeline has 32 callers for each CPU share one connection.
func BenchmarkPipeline(b *testing.B) {
	l, err := client.DialIP(b.Context(), pipelined(b), testutil.MaxWait)
	require.NoError(b, err)
	p := NewPipeline(l, client.DefaultTimeouts)
	defer p.Close()
	c := getRequest("/")
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

// pipelined starts a server that answers all requests of one read(2) with one write(2).
func pipelined(b *testing.B) string {
	answer := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, World!\n"
	size := len(getRequest("/").AppendTo(nil))
	return testutil.ServeScript(b, func(c *net.TCPConn, _ int) {
		in, out, had := make([]byte, 64<<10), []byte(nil), 0
		for n, err := c.Read(in); err == nil; n, err = c.Read(in) {
			had += n
			for out = out[:0]; had >= size; had -= size {
				out = append(out, answer...)
			}
			c.Write(out)
		}
	}).Addr
}
