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

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
)

// A cutter forwards connections to a backend. It cuts the next one that it accepts after so
// many bytes.
type cutter struct {
	addr   string
	mu     sync.Mutex
	armed  bool
	toward bool // count the bytes toward the backend, not from it
	after  int64
	cut    bool // the connection was cut
}

func startCutter(t testing.TB, backend string) *cutter {
	k := &cutter{}
	k.addr = testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		b, err := net.Dial("tcp", backend)
		if err != nil {
			return
		}
		defer b.Close()
		k.mu.Lock()
		armed, toward, after := k.armed, k.toward, k.after
		k.armed = false
		k.mu.Unlock()
		forward := func(to, from *net.TCPConn, counted bool) {
			if !counted {
				io.Copy(to, from)
				to.CloseWrite()
				return
			}
			if _, err := io.CopyN(to, from, after); err == nil {
				k.mu.Lock()
				k.cut = true
				k.mu.Unlock()
				if after%2 == 1 {
					c.SetLinger(0) // a reset, as from a process that dies with unread input
				}
				c.Close()
			}
			b.Close()
		}
		done := make(chan struct{})
		go func() { forward(b.(*net.TCPConn), c, armed && toward); close(done) }() // ends with the connections
		forward(c, b.(*net.TCPConn), armed && !toward)
		c.Close()
		b.Close()
		<-done
	}).Addr
	return k
}

func (k *cutter) arm(toward bool, after int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.armed, k.toward, k.after, k.cut = true, toward, after, false
}

func (k *cutter) wasCut() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cut
}

// The connection to the backend dies after every single byte, in both directions, while three
// requests are on it (E6). Safe requests are sent again; a POST is seen once at most; and no
// client gets another request's response.
func TestConnectionToTheBackendDiesAfterEveryByte(t *testing.T) {
	t.Parallel()
	const workers = 8
	var cuts, retried atomic.Int64
	var working sync.WaitGroup
	for worker := range workers {
		var mu sync.Mutex
		seen := map[string]int{} // guarded by mu
		back := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
			c.Settings()
			for {
				q, ok := c.NextRequest()
				if !ok {
					return
				}
				mu.Lock()
				seen[q.Method+q.Target]++
				mu.Unlock()
				c.Respond(q.ID, q.Target+q.Body)
			}
		})
		k := startCutter(t, back.Addr)
		r, g := startStreamGateway(t, k.addr, func(g *gateway.Gateway) { g.Pool.Limits.PerBackend, g.Pool.Limits.Total = 100, 100 })
		working.Go(func() {
			for _, toward := range []bool{true, false} {
				for after := int64(worker); !t.Failed(); after += workers {
					k.arm(toward, after)
					g.Pool.DropAll(k.addr) // so that the next request opens a connection
					where := fmt.Sprintf("cut after %d bytes, toward the backend: %v", after, toward)
					askThrough(t, r.addr, where, fmt.Sprintf("/%v/%d", toward, after))
					if !k.wasCut() {
						break // all bytes have been cut at
					}
					cuts.Add(1)
				}
			}
			retried.Add(int64(g.EngineCounts.Retried.Load()))
			mu.Lock()
			defer mu.Unlock()
			for what, n := range seen {
				if most := map[bool]int{true: 1, false: 2}[strings.HasPrefix(what, "POST")]; n > most {
					t.Errorf("the backend has seen %s %d times. http2pass.go, decide", what, n)
				}
			}
		})
	}
	waitGroup(t, &working, "all cuts")

	assert.Greater(t, cuts.Load(), int64(500), "positions")
	assert.Positive(t, retried.Load())
	t.Logf("%d cuts, %d requests were sent again", cuts.Load(), retried.Load())
}

// askThrough sends two GETs and a POST on one connection, and checks their responses.
func askThrough(t *testing.T, addr, where, path string) {
	c, err := net.DialTimeout("tcp", addr, maxWait)
	if !assert.NoError(t, err) {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(maxWait))
	io.WriteString(c, get(path+"/a")+get(path+"/b")+post(path+"/c", " and a body"))
	in := bufio.NewReader(c)
	for i, want := range []string{path + "/a", path + "/b", path + "/c and a body"} {
		a, err := http.ReadResponse(in, nil)
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Errorf("%s: %s is not answered", where, want)
			return
		} else if err != nil {
			assert.Positive(t, i, "%s: %v", where, err) // after a truncated response
			return
		}
		body, err := io.ReadAll(a.Body)
		switch {
		case err != nil && strings.HasPrefix(want, string(body)):
			return // truncated: its head was sent before the cut
		case a.StatusCode == 200 && string(body) == want && err == nil:
		case a.StatusCode == 502 && i == 2:
		default:
			t.Errorf("%s: %s was answered with %d %q, %v", where, want, a.StatusCode, body, err)
		}
	}
}

// Everything at once: backends that refuse, reset, go away and die, clients that leave, and
// connections that are dropped. Each client gets its own responses; no POST is processed
// twice; and nothing leaks.
func TestStreamChaosMixesNothingUp(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	processed := map[string]int{} // POSTs; guarded by mu
	back := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		random := rand.New(rand.NewPCG(uint64(c.Number), 4))
		c.Settings(http2MaxStreams(uint32(1 + random.IntN(20))))
		for {
			q, ok := c.NextRequest()
			if !ok {
				return
			}
			id, path := q.ID, q.Target
			body := chaosBody(path, q.Body)
			fate := random.IntN(40)
			switch fate { // not processed, and says so
			case 0:
				c.Reset(id, http2.RefusedStream)
				continue
			case 1:
				c.GoAway(id-1, http2.NoError)
				return
			case 2:
				c.GoAway(0, http2.EnhanceYourCalm)
				return
			}
			if q.Method == "POST" {
				mu.Lock()
				processed[path]++
				mu.Unlock()
			}
			switch fate {
			case 3:
				c.Reset(id, http2.InternalError)
			case 4:
				c.SetLinger(0)
				return
			case 5:
				c.Head(id, false, "200")
				c.Data(id, false, body[:min(len(body), http2.DefaultMaxFrame)/2])
				return
			case 6:
				c.Head(id, false, "103")
				c.Head(id, false, "200", "content-length", "1000000")
				c.Data(id, true, path)
			case 7:
				c.GoAway(id, http2.NoError)
				c.Respond(id, body)
				return
			case 8:
				c.Settings(http2MaxStreams(uint32(1 + random.IntN(20))))
				c.Respond(id, body)
			case 9:
				c.Send([]byte("HTTP/1.1 200 OK\r\n\r\n")) // what?
			default:
				c.Head(id, false, "200")
				for len(body) > 0 {
					n := min(len(body), 1+random.IntN(http2.DefaultMaxFrame))
					c.Data(id, n == len(body), body[:n])
					body = body[n:]
				}
			}
		}
	})
	p := pool.New(pool.Limits{PerBackend: 4, Total: 4, OneClient: true, MaxWait: maxWait, IdleTime: 50 * time.Millisecond, Lifetime: 100 * time.Millisecond})
	t.Cleanup(p.Close)
	g := gateway.New(p, []gateway.Backend{{Path: "/", Addr: back.Addr, Engine: true, HTTP2: true}})
	t.Cleanup(func() {
		g.Streams.Close()
		awaitStreamsEnded(t, g)
		assert.Zero(t, p.Stats().Permits, "a connection was not returned to the pool")
	})
	r := startServer(t, withOffload(g))
	end := time.Now().Add(time.Second)
	var clients sync.WaitGroup
	var answered, failed atomic.Int64
	for i := range 12 {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 3))
			for n := 0; time.Now().Before(end) && !t.Failed(); n++ {
				askSomething(t, r.addr, fmt.Sprintf("/%d/%d", i, n), random, &answered, &failed)
				if random.IntN(8) == 0 {
					p.DropAll(back.Addr)
				}
			}
		})
	}
	waitGroup(t, &clients, "all goroutines of the test end")

	mu.Lock()
	defer mu.Unlock()
	for path, n := range processed {
		assert.Equal(t, 1, n, "the backend has processed POST %s %d times. http2pass.go, decide", path, n)
	}
	assert.Positive(t, answered.Load())
	assert.Positive(t, failed.Load())
	assert.Positive(t, g.EngineCounts.Retried.Load(), "some requests were sent again")
	t.Logf("%d answered, %d failed, %d sent again, %d connections", answered.Load(), failed.Load(), g.EngineCounts.Retried.Load(), back.Accepted())
}

// chaosBody returns the body of the response to a request for path with body: as long as the
// path says, one window at most, and no two are alike.
func chaosBody(path, body string) string {
	n := 1
	fmt.Sscan(path[strings.LastIndexByte(path, '/')+1:], &n)
	return strings.Repeat(path+body, 1+min(n, 50<<10/len(path+body)))
}

// askSomething sends a few requests on one connection, and checks their responses; or it
// leaves.
func askSomething(t *testing.T, addr, path string, random *rand.Rand, answered, failed *atomic.Int64) {
	c, err := net.DialTimeout("tcp", addr, maxWait)
	if !assert.NoError(t, err) {
		return
	}
	defer c.Close()
	var wants []string
	var text string
	for len(wants) < 1+random.IntN(8) {
		own := fmt.Sprintf("%s/%d/%d", path, len(wants), random.IntN(4)*random.IntN(3000))
		if random.IntN(3) > 0 {
			text += get(own)
			wants = append(wants, chaosBody(own, ""))
		} else {
			text += post(own, " body of "+own)
			wants = append(wants, chaosBody(own, " body of "+own))
		}
	}
	io.WriteString(c, text)
	if random.IntN(4) == 0 {
		c.(*net.TCPConn).SetLinger(0)
		return
	}
	c.SetDeadline(time.Now().Add(maxWait))
	in := bufio.NewReader(c)
	for _, want := range wants {
		a, err := http.ReadResponse(in, nil)
		for err == nil && a.StatusCode == 103 {
			a, err = http.ReadResponse(in, nil)
		}
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Errorf("%s is not answered. http2pass.go, decide", clip(want))
			return
		} else if err != nil {
			return // after a truncated response
		}
		body, err := io.ReadAll(a.Body)
		switch {
		case err != nil && strings.HasPrefix(want, string(body)):
			failed.Add(1) // truncated
			return
		case err != nil || a.StatusCode == 200 && string(body) != want:
			t.Errorf("%s was answered with %s, %v: another request's response", clip(want), clip(string(body)), err)
		case a.StatusCode == 200:
			answered.Add(1)
		default:
			failed.Add(1)
		}
	}
}
