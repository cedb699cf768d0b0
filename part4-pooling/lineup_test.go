package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
)

const lineUpRule = "house rule: requests of one client ask for connections in the order in which they came, or they wait for each other. lineup.go"

// long is more than a slot keeps: an answer that waits for its turn with it
// keeps its backend's connection.
var long = strings.Repeat("b", 200<<10)

// holdUp lets p's clock hold up the first who asks for a connection from inside
// a function, so that others can overtake it if they are not kept from it.
func holdUp(p *pool.Pool, function string) {
	var begun atomic.Bool
	p.Now = func() time.Time {
		if strings.Contains(string(debug.Stack()), function) && !begun.Swap(true) {
			for until := time.Now().Add(100 * time.Millisecond); time.Now().Before(until) && p.Stats().Permits == 0; {
				time.Sleep(time.Millisecond) // a chance for the others; in vain, if all is well
			}
		}
		return time.Now().Round(0)
	}
}

func TestRequestIsNotOvertakenByTheOneBehindIt(t *testing.T) {
	t.Parallel()
	s := testutil.Answering(t, func(int, *http.Request) string { return testutil.Saying(long) })
	g := gateway.New(small(t, 1), []gateway.Prefix{{Path: "/", Addr: s.Addr}})
	g.Pool.Limits.Wait = time.Second
	holdUp(g.Pool, "(*Pool).Ask")
	r := start(t, handing(g), func(s *server.Server) { s.Handler = startsLate("/1", g.Pool, s.Handler) })

	all := tell(t, r.addr, lineUpRule, "lineup.go, lineUp", get("/1")+get("/2", closing))

	for _, one := range all.replies(t, "GET", "GET") {
		all.same(t, "the status of an answer", "200 OK", one.status)
	}
}

// startsLate lets a request's handler begin when somebody has asked for a
// connection: the request itself, if all is well, or one that overtakes it.
func startsLate(path string, p *pool.Pool, h server.Handler) server.Handler {
	return func(w *server.Response, r *server.Request) {
		for until := time.Now().Add(limit); string(r.Path) == path && p.Stats().Permits == 0 && time.Now().Before(until); {
			time.Sleep(time.Millisecond)
		}
		h(w, r)
	}
}

// Without any help: several clients with as many connections, and answers of
// which none fits into a slot.
func TestClientsThatPipelineDoNotWaitInACircle(t *testing.T) {
	t.Parallel()
	s := testutil.Answering(t, func(int, *http.Request) string { return testutil.Saying(long) })
	r, g := fronted(t, s.Addr, func(g *gateway.Gateway) { g.Pool.Limits.Wait = 2 * time.Second })
	const rounds, depth = 12, 8
	var group sync.WaitGroup
	var bad atomic.Int64
	for range 4 {
		group.Go(func() {
			for range rounds {
				if err := pipelines(r.addr, depth); err != nil {
					bad.Add(1)
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()

	assert.Zero(t, bad.Load(), lineUpRule)
	assert.Zero(t, g.Pool.Stats().Of(s.Addr).GaveUp, lineUpRule)
}

// pipelines asks for depth answers at once, and wants all of them whole.
func pipelines(addr string, depth int) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(limit))
	io.WriteString(c, strings.Repeat(get("/"), depth-1)+get("/", closing))
	in := bufio.NewReader(c)
	for i := range depth {
		a, err := http.ReadResponse(in, nil)
		if err != nil {
			return fmt.Errorf("answer %d of %d: %w", i+1, depth, err)
		}
		n, err := io.Copy(io.Discard, a.Body)
		if err != nil || a.StatusCode != 200 || n != int64(len(long)) {
			return fmt.Errorf("answer %d of %d: status %d, %d bytes, %v", i+1, depth, a.StatusCode, n, err)
		}
	}
	return nil
}

// An engine takes its place too: behind it in line may be requests for other
// backends, and the pool has a total.
func TestEngineIsNotOvertakenByARequestBehindIt(t *testing.T) {
	t.Parallel()
	backend := testutil.Answering(t, func(int, *http.Request) string { return testutil.Saying(long) })
	other := testutil.Answering(t, func(int, *http.Request) string { return testutil.Saying(long) })
	r, _ := engined(t, backend.Addr, func(g *gateway.Gateway) {
		g.Prefixes = []gateway.Prefix{{Path: "/other", Addr: other.Addr}, {Path: "/", Addr: backend.Addr, Engine: true}}
		g.Pool.Limits.Total, g.Pool.Limits.Wait = 1, time.Second
		holdUp(g.Pool, "(*Engine).run")
	})

	all := tell(t, r.addr, lineUpRule, "handover.go, newEngine", get("/")+get("/other", closing))

	for _, one := range all.replies(t, "GET", "GET") {
		all.same(t, "the status of an answer", "200 OK", one.status)
	}
}

// A request must not get onto an engine's connection past one of the same client
// that waits: its answer would wait for the other's turn, and the other for the
// connection.
func TestRequestDoesNotOvertakeByAnEngineWhatWaitsForAConnection(t *testing.T) {
	t.Parallel()
	a := testutil.Answering(t, func(int, *http.Request) string { return testutil.Saying(long) })
	b := testutil.Answering(t, func(int, *http.Request) string { return testutil.Saying(long) })
	for what, c := range map[string]struct {
		b      bool // has an engine
		second string
	}{
		"two engines":                 {true, get("/b")},
		"an engine and a pool":        {false, get("/b")},
		"a call that no engine takes": {false, get("/a", "Authorization: Negotiate x\r\n")},
	} {
		r, _ := engined(t, a.Addr, func(g *gateway.Gateway) {
			g.Prefixes = []gateway.Prefix{{Path: "/a", Addr: a.Addr, Engine: true}, {Path: "/b", Addr: b.Addr, Engine: c.b}}
			g.Pool.Limits.Total, g.Pool.Limits.Wait = 1, 2*time.Second
		})

		all := tell(t, r.addr, lineUpRule, "registry.go, push", get("/a")+c.second+get("/a")+c.second+get("/a", closing))

		for _, one := range all.replies(t, gets(5)...) {
			all.same(t, "the status of an answer, with "+what, "200 OK", one.status)
		}
	}
}

// What an engine has in its queue goes before who waits for its connection: it
// came before it, and may be what the answer to it waits for.
func TestEngineThatIsRecalledTakesWhatItHasAlong(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := testutil.Answering(t, func(_ int, r *http.Request) string {
		if r.URL.Path == "/first" {
			<-release
		}
		return testutil.Saying(long)
	})
	r, g := engined(t, s.Addr, func(g *gateway.Gateway) { g.Pool.Limits.PerBackend, g.Pool.Limits.Wait = 1, time.Second })
	sent := get("/first") + get("/second") + get("/third", "Authorization: Negotiate x\r\n", closing) // which no engine takes
	c := converse(t, r.addr, sent)
	eventually(t, "the third waits for a connection", func() bool { return g.Pool.Stats().Of(s.Addr).Waiting == 1 })

	close(release)

	all := story{sent: sent, rule: lineUpRule, look: "engine.go, write"}.hear(c)
	for _, one := range all.replies(t, gets(3)...) {
		all.same(t, "the status of an answer", "200 OK", one.status)
	}
}
