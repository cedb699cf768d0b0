package main

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requireStopLosesNothing runs 60 clients against cmd, a server at addr, each
// sending requests on a kept connection, and stops cmd. A request sent within
// lastCall of the client's last response, or of the signal, must be answered.
func requireStopLosesNothing(t *testing.T, cmd *exec.Cmd, addr, request, answer string) {
	t.Helper()
	const clients, lastCall = 60, 100 * time.Millisecond
	var signalled atomic.Int64 // nanoseconds since begun; 0 before the signal
	begun := time.Now()
	var all sync.WaitGroup
	started := make(chan bool, clients)
	for range clients {
		c := dial(t, addr)
		all.Go(func() { // until its connection is closed
			defer c.Close() // or the server would linger for it
			in := bufio.NewReader(c)
			before := begun // no later than its last request was sent
			for n := 1; ; n++ {
				time.Sleep(time.Duration(5+rand.IntN(26)) * time.Millisecond) // the client's think time; no synchronization
				c.SetDeadline(time.Now().Add(maxWait))
				sending := time.Now()
				_, err := io.WriteString(c, request)
				sent := time.Now()
				var a *http.Response
				if err == nil {
					a, err = http.ReadResponse(in, nil)
				}
				if err != nil {
					from := max(before.Sub(begun), time.Duration(signalled.Load()))
					assert.Greater(t, sent.Sub(begun)-from, lastCall, "house rule: a stop loses no request; request %d of a connection was lost: %v (server.go, waitDeadline)", n, err)
					return
				}
				body, err := io.ReadAll(a.Body)
				if !assert.NoError(t, err) || !assert.Equal(t, answer, string(body)) || a.Close {
					return
				}
				if before = sending; n == 4 {
					started <- true
				}
			}
		})
	}
	for range clients {
		receive(t, started, "load")
	}

	signalled.Store(int64(time.Since(begun)))
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))

	all.Wait()
	assert.NoError(t, cmd.Wait(), "exit status")
}
