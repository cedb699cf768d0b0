package main

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/server"
)

// A client that takes its answer slowly, but faster than -write-time demands, gets all of
// it. This one reads ten times as fast as it must, for three times the limit: a kernel
// that tells of room only when a third of a send buffer of megabytes is free tells
// too late.
func TestSlowReaderGetsAllOfItsAnswer(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	const size = 16 << 20
	ways := []string{"serial", "goroutines"}
	if server.DefaultDriver == "loop" {
		ways = append(ways, "loop")
	}
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			limits := server.DefaultLimits
			limits.Driver, limits.WriteTime = way, time.Second // 64 kB/s
			r := startServerAt(t, "127.0.0.1:0", limits, withHandler(func(w *server.Response, _ *server.Request) { w.Write(make([]byte, size)) }))
			c := converse(t, r.addr, get("/", closeField))
			c.SetReadBuffer(64 << 10)
			c.SetDeadline(time.Now().Add(2 * patience()))

			got := int64(0)
			for end := time.Now().Add(3 * limits.WriteTime); time.Now().Before(end); time.Sleep(50 * time.Millisecond) { // the client's pace
				n, _ := io.CopyN(io.Discard, c, 32<<10)
				got += n
			}
			rest, err := io.Copy(io.Discard, c)

			assert.NoError(t, err)
			assert.GreaterOrEqual(t, got+rest, int64(size), "house rule: -write-time is for each 64 KiB (server/notsent.go)")
		})
	}
}
