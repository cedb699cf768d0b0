package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
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
				body := story{rule: engineRule, look: "engine.go, end"}.hear(client).bodies(t, 1)
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

	later := converse(t, r.addr, get("/later"))

	expect(t, later, story{rule: "house rule: who comes later goes another way", look: "registry.go, crowded"}, "HTTP/1.1 200 OK\r\n")
	assert.EqualValues(t, 1, g.engineCounts.Alone.Load())
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

// An answer that takes its time takes it from nobody who comes later, and if its
// client leaves it is not read to its end.
func TestLongAnswerThroughASharedEngineHoldsUpNobodyNew(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	s := scriptedServer(t, func(c *net.TCPConn, _ int) {
		requests(bufio.NewReader(c), func(r *http.Request) bool {
			if r.URL.Path != "/events" {
				io.WriteString(c, saying(r.URL.Path))
				return true
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
			for sent.Load() < 1e9 {
				n, err := io.WriteString(c, strings.Repeat("x", 10_000))
				if sent.Add(int64(n)); err != nil {
					return false
				}
				time.Sleep(time.Millisecond) // it has not more to tell
			}
			return true
		})
	})
	r, g := engined(t, s.addr, sharing)
	warm(t, r.addr, g)
	listener := converse(t, r.addr, get("/events"))
	expect(t, listener, story{rule: engineRule, look: "engine.go, pause"}, "HTTP/1.1 200 OK\r\n")
	eventually(t, "it goes on", func() bool { return stuck(&g.common, s.addr) })

	newcomer := converse(t, r.addr, get("/new"))

	expect(t, newcomer, story{rule: "house rule: who comes later goes another way", look: "registry.go, crowded"}, "HTTP/1.1 200 OK\r\n")
	listener.SetLinger(0)
	listener.Close()
	settled(t, g)
	assert.Less(t, sent.Load(), int64(100e6), "it was read for nobody. engine.go, pass")
}

// What becomes of one client's job is no try of another's.
func TestBadJobsOfOthersUseUpNoTries(t *testing.T) {
	t.Parallel()
	for shared, want := range map[bool]jobState{true: jobDone, false: jobFailed} {
		y := &yard{linger: time.Millisecond}
		ready := make(chan struct{})
		y.open = func(lane) (lane, error) {
			<-ready // all are in the queue
			return newFakeLane(func(j *job) fate {
				if j.to.(*fakeSink).id == "bad" {
					return fateSilence
				}
				return fateAnswer
			}), nil
		}
		r := registry{shared: shared}
		var jobs []*fakeSink
		for _, id := range []string{"bad", "good", "bad", "victim"} {
			s := newFakeSink(id)
			jobs = append(jobs, s)
			require.True(t, r.push("a", &s.job, y.engine))
		}
		close(ready)
		for _, s := range jobs {
			soon(t, s.finished, "the end of "+s.id)
		}
		y.empty(t)

		assert.Equal(t, jobFailed, jobs[0].state)
		assert.Equal(t, want, jobs[3].state, "shared: %v. engine.go, settle", shared)
	}
}

// An answer that is cut ends at once, not when the clock looks.
func TestCutAnswerEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := answeringOnce(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	for _, change := range []func(*gateway){sharing, func(*gateway) {}} {
		r, _ := engined(t, s, change)
		var took []time.Duration
		for range 9 {
			c := converse(t, r.addr, get("/"))
			expect(t, c, story{rule: engineRule, look: "engine.go, pause"}, "HTTP/1.1 200 OK\r\n")
			began := time.Now()
			io.Copy(io.Discard, c)
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		assert.Less(t, took[4], maxTick/4, "taker.go, deliver")
	}
}

// stuck says whether the engine for addr is in the middle of an answer for as
// long as we look.
func stuck(r *registry, addr string) bool {
	r.mu.Lock()
	e := r.engines[addr]
	r.mu.Unlock()
	for range 20 {
		if e == nil || !e.midway.Load() {
			return false
		}
		time.Sleep(time.Millisecond) // between two looks; a state that lasts has no event
	}
	return true
}
