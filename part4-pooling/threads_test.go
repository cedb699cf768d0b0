package main

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/socket"
)

// countThreads returns the number of threads of the process pid:
// /proc/PID/task.
func countThreads(t *testing.T, pid int) int {
	t.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	require.NoError(t, err)
	return len(all)
}

// A dial to a backend whose accept queue is full stays pending until its
// timeout.
func TestPendingDialsHoldNoThreads(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/proc tells how many threads a process has")
	}
	const dials = 200
	cmd, addr, _ := startServing(t, "-backend", "http://"+testutil.UnresponsiveAddr(t), "-backend-connections", fmt.Sprint(dials))
	before := countThreads(t, cmd.Process.Pid)
	for range dials {
		converse(t, addr, get("/"))
	}

	most := before
	for began := time.Now(); time.Since(began) < client.DefaultTimeouts.Connect/6; time.Sleep(10 * time.Millisecond) { // while all dials are pending
		most = max(most, countThreads(t, cmd.Process.Pid))
	}

	assert.Less(t, most, before+dials/4, "house rule: %d pending dials wait in the poller, not each in a thread; before them there were %d threads. dial.go, finishConnect", dials, before)
}

func TestWaitingRequestsNeedNoExtraGoroutine(t *testing.T) { // not parallel: it counts goroutines
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	const waiting = 30
	r, g := startGateway(t, s.Addr, func(g *gateway.Gateway) { g.Pool.Limits.PerBackend, g.Pool.Limits.Total = waiting, waiting })
	var clients []*net.TCPConn
	for range waiting {
		clients = append(clients, converse(t, r.addr, get("/")))
	}
	eventually(t, "all wait", func() bool { return g.Pool.Stats().Backend(s.Addr).Leased == waiting })

	watchers := 0
	for began := time.Now(); time.Since(began) < 10*socket.PollInterval; time.Sleep(socket.PollInterval) { // after one interval they watch their client
		watchers = max(watchers, goroutinesIn("context.(*cancelCtx).propagateCancel.func")) // not a goroutine that is about to register
	}

	assert.Zero(t, watchers, "house rule: a waiting request costs no second goroutine. proxy.go, clientContext.AfterFunc")
	for _, c := range clients {
		c.SetLinger(0) // close with a reset: the client does not want the response
		c.Close()
	}
	eventually(t, "all requests have been cancelled", func() bool { return g.Pool.Stats().Permits == 0 })
}
