package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
)

const ruleGiveBack = "house rule: a response that waits for its turn does not keep a connection that others wait for. pool/giveback.go"

// One client asks for something slow, and behind that for long responses, which hold the
// only connection to their backend until their turn. Another client gets an answer
// nevertheless, and in the end the first one gets all of its own.
func TestResponseThatWaitsForItsTurnGivesItsConnectionBack(t *testing.T) {
	t.Parallel()
	drivers := []string{"goroutines"}
	if server.DefaultDriver == "loop" {
		drivers = append(drivers, "loop")
	}
	for _, driver := range drivers {
		for framing, body := range map[string]string{"a length": longBody, "chunks": longBody, "trailers": longBody[:100], "an interim response": "short"} {
			long := fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n", len(body), body)
			switch framing {
			case "a length":
				long = testutil.Response200(body)
			case "chunks":
				long += "\r\n"
			case "trailers":
				long += "ETag: x\r\n\r\n"
			case "an interim response":
				long = earlyHints + testutil.Response200(body)
			}
			for _, engine := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s with %s, engine %v", driver, framing, engine), func(t *testing.T) {
					t.Parallel()
					release := make(chan struct{})
					slow := testutil.ServeResponses(t, func(int, *http.Request) string { <-release; return testutil.Response200("slow") })
					var asked atomic.Int64 // for long responses
					quick := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
						if r.URL.Path == "/long" {
							asked.Add(1)
							return long
						}
						return testutil.Response200("quick")
					})
					p := pool.New(pool.Limits{PerBackend: 1, Total: 2, OneClient: true, MaxWait: 3 * patience(), Spare: time.Millisecond, IdleTime: time.Hour, Lifetime: time.Hour})
					t.Cleanup(p.Close)
					g := gateway.New(p, []gateway.Backend{{Path: "/slow", Addr: slow.Addr}, {Path: "/", Addr: quick.Addr, Engine: engine}})
					limits := server.DefaultLimits
					limits.Driver = driver
					r := startServerAt(t, "127.0.0.1:0", limits, withOffload(g))
					te := "TE: trailers\r\nConnection: TE\r\n"
					sent := get("/slow") + get("/long", te) + get("/long", te) + get("/long", te, closeField)
					greedy := converse(t, r.addr, sent)
					eventually(t, "a long response waits for its turn", func() bool { return asked.Load() == 1 })

					other := converse(t, r.addr, get("/quick", closeField))
					got, err := io.ReadAll(other)

					assert.NoError(t, err, ruleGiveBack)
					assert.True(t, strings.HasSuffix(string(got), "quick"), "%s: %s", ruleGiveBack, clip(string(got)))
					assert.EqualValues(t, 1, g.Pool.Stats().Backend(quick.Addr).GivenBack, ruleGiveBack)
					close(release)
					in := bufio.NewReader(greedy)
					interim := 0
					for i, want := range []string{"slow", body, body, body} {
						a, err := http.ReadResponse(in, nil)
						if err == nil && a.StatusCode == 103 {
							interim++
							a, err = http.ReadResponse(in, nil)
						}
						require.NoError(t, err, "response %d. %s", i, ruleGiveBack)
						got, err := io.ReadAll(a.Body)
						assert.NoError(t, err, "response %d. %s", i, ruleGiveBack)
						assert.Equal(t, 200, a.StatusCode, "response %d. %s", i, ruleGiveBack)
						assert.True(t, string(got) == want, "response %d has %d bytes, want %d. %s", i, len(got), len(want), ruleGiveBack)
					}
					assert.EqualValues(t, 4, asked.Load(), "the request that gave its connection back is sent once more, and no other is")
					assert.Equal(t, 3*strings.Count(long, "103 "), interim, "each interim response is sent, and none twice. %s", ruleInterim)
				})
			}
		}
	}
}

// Without a caller that it would help, no connection is given back.
func TestResponseKeepsItsConnectionIfNoOtherWantsIt(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
		if r.URL.Path == "/slow" {
			<-release
			return testutil.Response200("slow")
		}
		return testutil.Response200(longBody)
	})
	r, g := startGateway(t, s.Addr, func(g *gateway.Gateway) { g.Pool.Limits.PerBackend, g.Pool.Limits.Spare = 2, time.Nanosecond })
	sent := get("/slow") + get("/long") + get("/long", closeField)
	c := converse(t, r.addr, sent)
	eventually(t, "the third waits", func() bool { return g.Pool.Stats().Backend(s.Addr).Waiting == 1 })

	close(release)

	all := transcript{sent: sent, rule: ruleGiveBack, look: "pool/giveback.go, mustGiveBack"}.readAll(c)
	for _, one := range all.parseAll(t, getMethods(3)...) {
		all.wantSame(t, "the status of a response", "200 OK", one.status)
	}
	assert.Zero(t, g.Pool.Stats().Backend(s.Addr).GivenBack, "a connection that only the next request of the same line could have. %s", ruleGiveBack)
}

// Three clients hold all connections with responses that wait for their turn. Another
// client needs one.
func TestThreeOverdueResponsesGiveOneConnectionBack(t *testing.T) {
	t.Parallel()
	for _, engine := range []bool{false, true} {
		t.Run(fmt.Sprintf("engine %v", engine), func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			slow := testutil.ServeResponses(t, func(int, *http.Request) string { <-release; return testutil.Response200("slow") })
			var asked atomic.Int64 // for long responses
			quick := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
				if r.URL.Path == "/long" {
					asked.Add(1)
					return testutil.Response200(longBody)
				}
				return testutil.Response200("quick")
			})
			p := pool.New(pool.Limits{PerBackend: 3, Total: 6, OneClient: true, MaxWait: 3 * patience(), Spare: time.Millisecond, IdleTime: time.Hour, Lifetime: time.Hour})
			t.Cleanup(p.Close)
			r := startServer(t, withOffload(gateway.New(p, []gateway.Backend{{Path: "/slow", Addr: slow.Addr}, {Path: "/", Addr: quick.Addr, Engine: engine}})))
			var greedy []*net.TCPConn
			for range 3 {
				greedy = append(greedy, converse(t, r.addr, get("/slow")+get("/long", closeField)))
			}
			eventually(t, "three long responses wait for their turns", func() bool { return asked.Load() == 3 })

			got, err := io.ReadAll(converse(t, r.addr, get("/quick", closeField)))

			assert.NoError(t, err, ruleGiveBack)
			assert.True(t, strings.HasSuffix(string(got), "quick"), "%s: %s", ruleGiveBack, clip(string(got)))
			assert.EqualValues(t, 1, p.Stats().Backend(quick.Addr).GivenBack, "connections given back for one caller. %s", ruleGiveBack)
			close(release)
			for _, c := range greedy {
				got, err := io.ReadAll(c)
				assert.NoError(t, err, ruleGiveBack)
				assert.True(t, strings.HasSuffix(string(got), longBody), "%s: %s", ruleGiveBack, clip(string(got)))
			}
			assert.EqualValues(t, 4, asked.Load(), "requests for long responses")
		})
	}
}

// A backend that waits until its response is read may read no requests meanwhile, as part 3.
// An engine that waits for it in a write gives its connection back nevertheless, and if its
// client has gone it closes it.
func TestEngineLetsGoOfAConnectionInTheMiddleOfAWrite(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprintf("client gone %v", gone), func(t *testing.T) {
			t.Parallel()
			release, taken := make(chan struct{}), make(chan struct{})
			slow := testutil.ServeResponses(t, func(int, *http.Request) string { <-release; return testutil.Response200("slow") })
			quick := testutil.ServeScript(t, func(c *net.TCPConn, number int) {
				testutil.ReadRequests(bufio.NewReader(c), func(r *http.Request) bool {
					if r.URL.Path != "/long" {
						io.WriteString(c, testutil.Response200("quick"))
						return true
					}
					close(taken)
					io.WriteString(c, testutil.Response200(longBody))
					<-t.Context().Done()
					return false
				})
			})
			p := pool.New(pool.Limits{PerBackend: 1, Total: 2, OneClient: true, MaxWait: patience(), Spare: time.Millisecond, IdleTime: time.Hour, Lifetime: time.Hour})
			t.Cleanup(p.Close)
			g := gateway.New(p, []gateway.Backend{{Path: "/slow", Addr: slow.Addr}, {Path: "/", Addr: quick.Addr, Engine: true}})
			g.Timeouts.Idle, g.Engines.IdleTime = time.Hour, time.Hour
			r := startServer(t, withOffload(g))
			first := get("/first") // a lane takes one request until it has had a response
			greedy := converse(t, r.addr, first)
			requireRead(t, greedy, transcript{sent: first, rule: ruleGiveBack, look: "lane.go, stopWriting"}, "HTTP/1.1 200 OK\r\n")
			io.WriteString(greedy, get("/slow")+strings.Repeat(get("/long", "Cookie: "+strings.Repeat("x", 15<<10)+"\r\n"), 31))
			receive(t, taken, "the long response waits for its turn")
			if gone {
				greedy.SetLinger(0)
				greedy.Close()
			}

			got, err := io.ReadAll(converse(t, r.addr, get("/quick", closeField)))

			assert.NoError(t, err, ruleGiveBack)
			assert.True(t, strings.HasSuffix(string(got), "quick"), "%s: %s", ruleGiveBack, clip(string(got)))
			greedy.Close()
			close(release)
		})
	}
}

// Clients ask backends with and without engines in any order, for one connection to each
// and two in all. Whoever waits for a turn gives a connection back, and nobody waits for ever.
func TestClientsThatGiveConnectionsBackDoNotDeadlock(t *testing.T) {
	t.Parallel()
	var backends []gateway.Backend
	for i, path := range []string{"/a", "/b", "/c"} {
		s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
			if strings.HasSuffix(r.URL.Path, "/0") {
				time.Sleep(300 * time.Millisecond) // longer than a tick of the server's clock: others wait for their turn
			}
			return testutil.Response200(r.URL.Path + longBody)
		})
		backends = append(backends, gateway.Backend{Path: path, Addr: s.Addr, Engine: i != 1})
	}
	p := pool.New(pool.Limits{PerBackend: 1, Total: 2, OneClient: true, MaxWait: maxWait, Spare: time.Nanosecond, IdleTime: time.Hour, Lifetime: time.Hour})
	t.Cleanup(p.Close)
	r := startServer(t, withOffload(gateway.New(p, backends)))
	var group sync.WaitGroup
	for seed := range uint64(6) {
		group.Go(func() {
			random := rand.New(rand.NewPCG(seed, 1))
			for range 2 {
				var paths []string
				for i := range 8 {
					paths = append(paths, fmt.Sprintf("%s/%d", backends[random.IntN(3)].Path, i))
				}
				if err := pipelinePaths(r.addr, paths); err != nil {
					t.Errorf("seed %d, %v: %v. %s", seed, paths, err, ruleGiveBack)
					return
				}
			}
		})
	}
	group.Wait()
	given := uint64(0)
	for _, b := range backends {
		given += p.Stats().Backend(b.Addr).GivenBack
	}
	assert.NotZero(t, given, "connections that were given back")
}

// pipelinePaths sends a request for each path in one write, and requires each response to
// be longBody behind its path.
func pipelinePaths(addr string, paths []string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * maxWait)) // a request that waits too long gets a 503 first
	var sent strings.Builder
	for _, path := range paths[:len(paths)-1] {
		sent.WriteString(get(path))
	}
	io.WriteString(c, sent.String()+get(paths[len(paths)-1], closeField))
	in := bufio.NewReader(c)
	for _, path := range paths {
		a, err := http.ReadResponse(in, nil)
		if err != nil {
			return fmt.Errorf("response to %s: %w", path, err)
		}
		body, err := io.ReadAll(a.Body)
		if err != nil || a.StatusCode != 200 || string(body) != path+longBody {
			return fmt.Errorf("response to %s: status %d, %s, %v", path, a.StatusCode, clip(string(body)), err)
		}
	}
	return nil
}
