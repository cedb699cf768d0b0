package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Clients that share an engine: what they win, and what it costs them.

func sharing(g *gateway) { g.engines.shared = true }

func TestClientsShareAConnectionIfTheyWantTo(t *testing.T) {
	t.Parallel()
	const many = 16
	for name, c := range map[string]struct {
		change      func(*gateway)
		connections int
	}{
		"shared":   {sharing, 1},
		"one each": {func(g *gateway) { g.pool.limits.perBackend, g.pool.limits.total = many, many }, many},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			back, held, release := parallel(t)
			r, g := engined(t, back.addr, c.change)
			warm(t, r.addr, g)
			var clients []*net.TCPConn
			for i := range many {
				clients = append(clients, converse(t, r.addr, get(fmt.Sprintf("/hold/%d", i))))
			}

			eventually(t, "the backend works on all of them at once", func() bool { return held.Load() == many })
			assert.Equal(t, c.connections, back.count(), "registry.go, push")
			release()

			for i, client := range clients {
				client.CloseWrite()
				body := story{rule: engineRule, look: "engine.go, flush"}.hear(client).bodies(t, 1)
				assert.Equal(t, []string{fmt.Sprintf("/hold/%d", i)}, body, "nobody gets what is somebody else's")
			}
		})
	}
}

// This is the price: whoever is on the connection waits for the one that does
// not take its answer. Who comes later does not, and when the slow one has gone
// nobody has lost anything.
func TestSlowClientHoldsUpWhoSharesItsConnection(t *testing.T) {
	t.Parallel()
	begin := make(chan struct{})
	s := scriptedServer(t, func(c *net.TCPConn, _ int) {
		requests(bufio.NewReader(c), func(r *http.Request) bool {
			body := r.URL.Path
			if body == "/big" {
				<-begin
				body = strings.Repeat("x", 32<<20) // more than anybody keeps for who does not read
			}
			_, err := io.WriteString(c, saying(body))
			return err == nil
		})
	})
	r, g := engined(t, s.addr, sharing)
	warm(t, r.addr, g)
	jobs := func(n int) func() bool {
		return func() bool { return jobsFor(&g.common, s.addr) == n }
	}
	slow := converse(t, r.addr, get("/big"))
	eventually(t, "a request is on its way", jobs(1))
	behind := converse(t, r.addr, get("/behind"))
	eventually(t, "and another one behind it", jobs(2))
	close(begin)
	eventually(t, "the slow client does not take its answer", func() bool { return stuck(&g.common, s.addr) })

	later := tell(t, r.addr, engineRule, "registry.go, crowded", get("/later")+get("/too", closing))

	assert.Equal(t, []string{"/later", "/too"}, later.bodies(t, 2), "who comes later goes another way")
	assert.Equal(t, 2, jobsFor(&g.common, s.addr), "who is behind the slow one waits for him: that is why nothing is shared by default")
	slow.SetLinger(0)
	slow.Close()
	behind.CloseWrite()
	waited := story{rule: engineRule, look: "engine.go, settle"}.hear(behind)
	assert.Equal(t, []string{"/behind"}, waited.bodies(t, 1))
}

// What is behind something else in its line has to wait for its turn, and would let
// others wait for that: it is not shared.
func TestOnlyWhatIsAloneInItsLineIsShared(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first, second string // what the client sends, and then
		shared, own   int    // jobs
	}{
		"one":              {get("/hold/1"), "", 1, 0},
		"two at once":      {get("/hold/1") + get("/hold/2"), "", 0, 2},
		"one, and another": {get("/hold/1"), get("/hold/2"), 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			back, held, release := parallel(t)
			r, g := engined(t, back.addr, sharing)
			t.Cleanup(release) // before all engines have to retire
			warm(t, r.addr, g)
			client := converse(t, r.addr, c.first)
			eventually(t, "the first is taken", func() bool { return held.Load() >= 1 })
			front := r.only(t)
			_, err := io.WriteString(client, c.second)
			require.NoError(t, err)

			eventually(t, "all are on their way", func() bool {
				return jobsFor(&g.common, back.addr) == c.shared && jobsFor(&front.engines, back.addr) == c.own
			})
		})
	}
}

// jobsFor counts the jobs of the engine for addr.
func jobsFor(r *registry, addr string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.engines[addr]; e != nil {
		return len(e.queue) + e.onLane
	}
	return 0
}

// stuck says whether the engine for addr gives somebody a piece for as long as
// we look. With a client that reads it would have given him all.
func stuck(r *registry, addr string) bool {
	r.mu.Lock()
	e := r.engines[addr]
	r.mu.Unlock()
	for range 20 {
		if e == nil || !e.passes.Load() {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}
