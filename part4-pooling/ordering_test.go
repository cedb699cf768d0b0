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

const ruleOrdering = "house rule: requests of one client ask for connections in the order in which they came, or they deadlock. reserve.go"

// longBody is more than a slot buffers: a response with it holds its backend
// connection until its turn.
var longBody = strings.Repeat("b", 200<<10)

// delayFunction makes p's clock block the first goroutine that reads it inside
// the named function, so that other requests overtake it if nothing prevents
// that.
func delayFunction(p *pool.Pool, function string) {
	var begun atomic.Bool
	p.Now = func() time.Time {
		if strings.Contains(string(debug.Stack()), function) && !begun.Swap(true) {
			for until := time.Now().Add(300 * time.Millisecond); time.Now().Before(until) && p.Stats().Permits == 0; {
				time.Sleep(time.Millisecond) // a chance for the others to overtake; in vain in a correct server
			}
		}
		return time.Now().Round(0)
	}
}

func TestRequestIsNotOvertakenByALaterOne(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(int, *http.Request) string { return testutil.Response200(longBody) })
	g := gateway.New(newSmallPool(t, 1), []gateway.Backend{{Path: "/", Addr: s.Addr}})
	g.Pool.Limits.MaxWait = time.Second
	delayFunction(g.Pool, "(*Pool).Reserve")
	r := startServer(t, withOffload(g), func(s *server.Server) { s.Handler = delayStart("/1", g.Pool, s.Handler) })

	all := sendAndRead(t, r.addr, ruleOrdering, "reserve.go, OffloadOrReserve", get("/1")+get("/2", closeField))

	for _, one := range all.parseAll(t, "GET", "GET") {
		all.wantSame(t, "the status of a response", "200 OK", one.status)
	}
}

// delayStart delays the handler of path until a request has asked for a
// connection: that same request in a correct server, or one that overtakes it.
func delayStart(path string, p *pool.Pool, h server.Handler) server.Handler {
	return func(w *server.Response, r *server.Request) {
		for until := time.Now().Add(maxWait); string(r.Path) == path && p.Stats().Permits == 0 && time.Now().Before(until); {
			time.Sleep(time.Millisecond)
		}
		h(w, r)
	}
}

// Without induced delays: several clients, as many connections, and responses
// too long for a slot.
func TestPipeliningClientsDoNotDeadlock(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(int, *http.Request) string { return testutil.Response200(longBody) })
	r, g := startGateway(t, s.Addr, func(g *gateway.Gateway) { g.Pool.Limits.MaxWait = maxWait })
	const rounds, depth = 12, 8
	var group sync.WaitGroup
	var bad atomic.Int64
	for range 4 {
		group.Go(func() {
			for range rounds {
				if err := pipelineRequests(r.addr, depth); err != nil {
					bad.Add(1)
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()

	assert.Zero(t, bad.Load(), ruleOrdering)
	assert.Zero(t, g.Pool.Stats().Backend(s.Addr).GaveUp, ruleOrdering)
}

// pipelineRequests sends depth requests in one write, and requires a complete
// response to each.
func pipelineRequests(addr string, depth int) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(3 * maxWait)) // a request that waits too long gets a 503 first
	io.WriteString(c, strings.Repeat(get("/"), depth-1)+get("/", closeField))
	in := bufio.NewReader(c)
	for i := range depth {
		a, err := http.ReadResponse(in, nil)
		if err != nil {
			return fmt.Errorf("response %d of %d: %w", i+1, depth, err)
		}
		n, err := io.Copy(io.Discard, a.Body)
		if err != nil || a.StatusCode != 200 || n != int64(len(longBody)) {
			return fmt.Errorf("response %d of %d: status %d, %d bytes, %v", i+1, depth, a.StatusCode, n, err)
		}
	}
	return nil
}

// An engine also reserves a place in the queue: requests for other backends may
// wait after it, and the pool limits the total.
func TestEngineIsNotOvertakenByALaterRequest(t *testing.T) {
	t.Parallel()
	backend := testutil.ServeResponses(t, func(int, *http.Request) string { return testutil.Response200(longBody) })
	other := testutil.ServeResponses(t, func(int, *http.Request) string { return testutil.Response200(longBody) })
	r, _ := startEngineGateway(t, backend.Addr, func(g *gateway.Gateway) {
		g.Backends = []gateway.Backend{{Path: "/other", Addr: other.Addr}, {Path: "/", Addr: backend.Addr, Engine: true}}
		g.Pool.Limits.Total, g.Pool.Limits.MaxWait = 1, time.Second
		delayFunction(g.Pool, "(*Engine).runWriter")
	})

	all := sendAndRead(t, r.addr, ruleOrdering, "offload.go, newEngine", get("/")+get("/other", closeField))

	for _, one := range all.parseAll(t, "GET", "GET") {
		all.wantSame(t, "the status of a response", "200 OK", one.status)
	}
}

// A request must not be pushed onto an engine's connection past a waiting one
// of the same client: its response would wait for the other's turn, and the
// other for the connection.
func TestOffloadedRequestDoesNotOvertakeAWaitingRequest(t *testing.T) {
	t.Parallel()
	a := testutil.ServeResponses(t, func(int, *http.Request) string { return testutil.Response200(longBody) })
	b := testutil.ServeResponses(t, func(int, *http.Request) string { return testutil.Response200(longBody) })
	for what, c := range map[string]struct {
		b      bool // whether the second backend has an engine
		second string
	}{
		"two engines":                      {true, get("/b")},
		"an engine and a pool":             {false, get("/b")},
		"a request that no engine accepts": {false, get("/a", "Authorization: Negotiate x\r\n")},
	} {
		r, _ := startEngineGateway(t, a.Addr, func(g *gateway.Gateway) {
			g.Backends = []gateway.Backend{{Path: "/a", Addr: a.Addr, Engine: true}, {Path: "/b", Addr: b.Addr, Engine: c.b}}
			g.Pool.Limits.Total, g.Pool.Limits.MaxWait = 1, 2*time.Second
		})

		all := sendAndRead(t, r.addr, ruleOrdering, "registry.go, Push", get("/a")+c.second+get("/a")+c.second+get("/a", closeField))

		for _, one := range all.parseAll(t, getMethods(5)...) {
			all.wantSame(t, "the status of a response, with "+what, "200 OK", one.status)
		}
	}
}

// An engine finishes its queue before it returns its connection to a waiting
// request: the queued requests came first, and the waiting one's response may
// have to wait for theirs.
func TestRecalledEngineFinishesItsQueue(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
		if r.URL.Path == "/first" {
			<-release
		}
		return testutil.Response200(longBody)
	})
	r, g := startEngineGateway(t, s.Addr, func(g *gateway.Gateway) { g.Pool.Limits.PerBackend, g.Pool.Limits.MaxWait = 1, time.Second })
	sent := get("/first") + get("/second") + get("/third", "Authorization: Negotiate x\r\n", closeField) // which no engine accepts
	c := converse(t, r.addr, sent)
	eventually(t, "the third waits for a connection", func() bool { return g.Pool.Stats().Backend(s.Addr).Waiting == 1 })

	close(release)

	all := transcript{sent: sent, rule: ruleOrdering, look: "engine.go, writeLoop"}.readAll(c)
	for _, one := range all.parseAll(t, getMethods(3)...) {
		all.wantSame(t, "the status of a response", "200 OK", one.status)
	}
}
