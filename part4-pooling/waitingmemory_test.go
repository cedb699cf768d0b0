package main

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/server"
)

// 40 clients have 32 requests each for a backend that does not answer, with heads of 15 KB
// that a gateway keeps twice: 40 MB without a budget.
func TestRequestsThatWaitForABackendAreBoundedForTheProcess(t *testing.T) { // alone: it looks at the memory
	const clients, budget, permits = 40, 4 << 20, 4
	long := get("/", "Cookie: "+strings.Repeat("x", 15<<10)+"\r\n")
	for name, engine := range map[string]bool{"pool": false, "engine": true} {
		t.Run(name, func(t *testing.T) {
			silent := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
			g := gateway.New(newSmallPool(t, permits), []gateway.Backend{{Path: "/", Addr: silent.Addr, Engine: engine}})
			r := startServer(t, withOffload(g), func(s *server.Server) {
				s.Limits.WaitingMemory, s.Limits.HandlerMemory = budget, gateway.RequestMemory(s.Limits.Head)
			})
			batch := strings.Repeat(long, 32)
			before := heapInUse()

			var all []net.Conn
			for range clients {
				c := converse(t, r.addr, "")
				c.SetDeadline(time.Now().Add(maxWait))
				go io.WriteString(c, batch) // until the server has read it, or c is closed
				all = append(all, c)
			}
			eventually(t, "most of the budget is out", func() bool { return r.WaitingMemory() > budget/2 })
			eventually(t, "every client is served", func() bool { slots, _ := r.InFlight(); return slots > clients })

			held, used := heapInUse()-before, r.WaitingMemory()
			bound := (r.Limits.ProcessMemory(clients) + permits*g.Engines.MemoryBound(r.Limits.Head)) * 5 / 4
			t.Logf("%d clients hold %d KiB; the limits say %d; %d KiB of the budget are out", clients, held>>10, bound>>10, used>>10)
			assert.LessOrEqual(t, used, int64(budget), "house rule: the budget is never overdrawn (server/waitingmemory.go)")
			assert.LessOrEqual(t, held, bound, "house rule: limits.go says what the process may hold in bytes")
			for _, c := range all {
				c.(*net.TCPConn).SetLinger(0)
				c.Close()
			}
			eventually(t, "all credit is back", func() bool { return r.WaitingMemory() == 0 })
		})
	}
}
