package main

import (
	"bufio"
	"fmt"
	"io"
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
)

// A dyingConn is a backend's connection that closes after a number of bytes.
type dyingConn struct {
	*net.TCPConn
	d       *deathPoint
	in, out int // bytes left to read and to write before it closes
}

func (m *dyingConn) die() {
	if m.d.withRST {
		m.SetLinger(0)
	}
	m.Close()
}

func (m *dyingConn) Read(p []byte) (int, error) {
	if m.in == 0 {
		m.die()
		return 0, io.EOF
	}
	n, err := m.TCPConn.Read(p[:min(len(p), m.in)])
	m.in -= n
	m.d.read.Add(int64(n))
	return n, err
}

func (m *dyingConn) Write(p []byte) (int, error) {
	n, err := m.TCPConn.Write(p[:min(len(p), m.out)])
	m.d.written.Add(int64(n))
	if m.out -= n; m.out == 0 {
		m.die()
		return n, io.ErrClosedPipe
	}
	return n, err
}

// A deathPoint is one round of the test: a backend whose first connections
// close after a number of bytes.
type deathPoint struct {
	in, out int  // bytes read and written before a connection closes
	withRST bool // close with a reset
	deaths  int  // how many connections close; later ones stay open

	read, written atomic.Int64 // bytes, by all connections

	mu          sync.Mutex
	connections int
	seen        map[string]int // requests, by method and path
}

const unlimited = 1 << 30 // bytes

func (d *deathPoint) serve(c *net.TCPConn, _ int) {
	d.mu.Lock()
	d.connections++
	m := &dyingConn{TCPConn: c, d: d, in: d.in, out: d.out}
	if d.connections > d.deaths {
		m.in, m.out = unlimited, unlimited
	}
	d.mu.Unlock()
	in := bufio.NewReader(m)
	for err := error(nil); err == nil; {
		r, failed := http.ReadRequest(in)
		if failed != nil {
			return
		}
		d.mu.Lock()
		d.seen[r.Method+r.URL.Path]++
		d.mu.Unlock()
		io.Copy(io.Discard, r.Body)
		if strings.HasSuffix(r.URL.Path, "2") {
			_, err = fmt.Fprintf(m, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(r.URL.Path), r.URL.Path)
		} else {
			_, err = io.WriteString(m, testutil.Response200(r.URL.Path))
		}
	}
}

// A cutStage is a gateway with a backend that closes connections as the
// deathPoint of the round says.
type cutStage struct {
	addr  string
	g     *gateway.Gateway
	round atomic.Pointer[deathPoint]
}

func newCutStage(t *testing.T) *cutStage {
	p := &cutStage{}
	back := testutil.ServeScript(t, func(c *net.TCPConn, n int) { p.round.Load().serve(c, n) })
	r, g := startEngineGateway(t, back.Addr, func(g *gateway.Gateway) { g.Engines.IdleTime = time.Millisecond })
	p.addr, p.g = r.addr, g
	return p
}

// play runs one round, and leaves no connection open.
func (p *cutStage) play(t *testing.T, d *deathPoint) bool {
	d.seen = map[string]int{}
	p.round.Store(d)
	ok := d.check(t, p.addr)
	awaitEnginesRetired(t, p.g)
	for _, b := range p.g.Pool.Stats().Backends {
		p.g.Pool.DropAll(b.Addr)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for request, times := range d.seen {
		most := 2
		if request[:4] == "POST" {
			most = 1
		}
		ok = ok && assert.LessOrEqual(t, times, most, "the backend has received %s too often. unanswered.go, resolveUnanswered", request)
	}
	return ok
}

// A backend closes after every byte that it writes, and after every byte that
// it reads. No client gets another's response, no request is sent three times,
// and no POST twice.
func TestBackendDeathAfterEveryByteIsHandled(t *testing.T) {
	t.Parallel()
	first := newCutStage(t)
	whole := &deathPoint{in: unlimited, out: unlimited}
	require.True(t, first.play(t, whole))
	read, written := int(whole.read.Load()), int(whole.written.Load())
	t.Logf("a backend dies after each of %d bytes that it reads, and of %d that it writes", read, written)
	rounds := make(chan *deathPoint, read+2*written)
	for n := 1; n <= written; n++ {
		rounds <- &deathPoint{in: unlimited, out: n, withRST: n%2 == 0, deaths: 1}
		rounds <- &deathPoint{in: unlimited, out: n, withRST: n%2 == 1, deaths: unlimited}
	}
	for n := 1; n <= read; n++ {
		rounds <- &deathPoint{in: n, out: unlimited, withRST: n%2 == 0, deaths: 1}
	}
	close(rounds)
	var workers sync.WaitGroup
	for range 4 {
		p := newCutStage(t)
		workers.Go(func() {
			for d := range rounds {
				if !p.play(t, d) {
					t.Errorf("when a backend's connection dies after %d bytes read, %d written (reset: %v)", d.in, d.out, d.withRST)
					return
				}
			}
		})
	}
	waitGroup(t, &workers, "all goroutines of the test end")
}

// check sends requests and checks the responses.
func (d *deathPoint) check(t *testing.T, addr string) bool {
	c := converse(t, addr, get("/1")+get("/2")+get("/3")+post("/4", "pay"))
	c.CloseWrite()
	c.SetReadDeadline(time.Now().Add(maxWait))
	in := bufio.NewReader(c)
	for i := 1; i <= 4; i++ {
		a, err := http.ReadResponse(in, nil)
		if err != nil {
			_, timeout := err.(net.Error)
			return assert.False(t, timeout && err.(net.Error).Timeout(), "request %d got no response", i)
		}
		body, err := io.ReadAll(a.Body)
		want := fmt.Sprintf("/%d", i)
		switch {
		case err != nil && !strings.HasPrefix(want, string(body)), err == nil && a.StatusCode == 200 && string(body) != want:
			return assert.Failf(t, "a response is for another request", "request %d was answered with %q", i, body)
		case err != nil:
			return true // truncated: nothing can follow
		case a.StatusCode == 502 && d.deaths == 1 && i < 4:
			return assert.Failf(t, "it should have been retried once", "request %d", i)
		case a.StatusCode != 200 && a.StatusCode != 502:
			return assert.Failf(t, "a status that means something else", "request %d: %d", i, a.StatusCode)
		}
	}
	return true
}
