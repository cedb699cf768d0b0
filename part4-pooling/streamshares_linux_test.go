package main

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
)

// A client with hundreds of requests delays the only one of another client by a few, not by
// hundreds; and it leaves streams to others.
func TestManyRequestsOfOneClientDoNotHoldUpAnother(t *testing.T) {
	t.Parallel()
	const streams, conns, each = 4, 16, 32
	var mu sync.Mutex
	var order []string // guarded by mu
	free := make(chan struct{}, 10000)
	back := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings(http2MaxStreams(streams))
		var responding sync.WaitGroup
		defer responding.Wait()
		for {
			q, ok := c.NextRequest()
			if !ok {
				return
			}
			mu.Lock()
			order = append(order, q.Target)
			mu.Unlock()
			responding.Go(func() {
				select {
				case <-free:
				case <-t.Context().Done():
				}
				c.Respond(q.ID, q.Target)
			})
		}
	})
	arrived := func() int { mu.Lock(); defer mu.Unlock(); return len(order) }
	r, g := startStreamGateway(t, back.Addr, func(g *gateway.Gateway) { g.Pool.Limits.PerBackend, g.Pool.Limits.OneClient = 1, false })
	var greedy []*net.TCPConn
	for i := range conns {
		text, _ := getPaths(fmt.Sprintf("/greedy/%d/", i), each)
		greedy = append(greedy, converse(t, r.addr, text))
	}
	eventually(t, "hundreds of requests wait", func() bool { return g.EngineCounts.Pushed.Load() >= 400 })
	eventually(t, "one client has half of the streams", func() bool { return arrived() == streams/2 })

	other, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", r.addr)
	require.NoError(t, err)
	defer other.Close()
	other.SetDeadline(time.Now().Add(maxWait))
	io.WriteString(other, get("/other", closeField))
	eventually(t, "the other client has one of those that were left", func() bool { return arrived() == streams/2+1 })
	for range 10000 {
		free <- struct{}{}
	}

	transcript{rule: ruleAllPasses}.readAll(other.(*net.TCPConn)).wantAnswer(t, "200", "/other")
	for i, c := range greedy {
		_, want := getPaths(fmt.Sprintf("/greedy/%d/", i), each)
		assert.Equal(t, want, transcript{rule: ruleAllPasses}.readAll(c).parseBodies(t, each))
	}
}
