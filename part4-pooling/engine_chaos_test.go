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
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
)

// engineBackends are well-behaved and misbehaving backends by their path
// prefix. The body of each response is the request's path.
var engineBackends = map[string]func(c *net.TCPConn, in *bufio.Reader){
	"/good": func(c *net.TCPConn, in *bufio.Reader) {
		testutil.ReadRequests(in, func(r *http.Request) bool {
			_, err := io.WriteString(c, testutil.Response200(r.URL.Path))
			return err == nil
		})
	},
	"/thrice": func(c *net.TCPConn, in *bufio.Reader) { // responds to three requests, then closes
		n := 0
		testutil.ReadRequests(in, func(r *http.Request) bool { io.WriteString(c, testutil.Response200(r.URL.Path)); n++; return n < 3 })
	},
	"/half": func(c *net.TCPConn, in *bufio.Reader) {
		testutil.ReadRequests(in, func(r *http.Request) bool {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+r.URL.Path)
			c.SetLinger(0)
			return false
		})
	},
	"/garbage": func(c *net.TCPConn, in *bufio.Reader) {
		testutil.ReadRequests(in, func(*http.Request) bool { io.WriteString(c, "\x16\x03\x01 what?\r\n\r\n"); return false })
	},
	"/slams": func(c *net.TCPConn, _ *bufio.Reader) { c.SetLinger(0) },
}

// Many clients, each with requests to all kinds of backends on one connection;
// some close early, and some drop the pool's connections. No client gets
// another's response, and nothing leaks.
func TestEngineChaosLeaksNothing(t *testing.T) {
	t.Parallel()
	p := pool.New(pool.Limits{PerBackend: 4, Total: 12, OneClient: true, MaxWait: maxWait, IdleTime: time.Hour, Lifetime: 20 * time.Millisecond})
	t.Cleanup(p.Close)
	g := gateway.New(p, nil)
	g.Engines.IdleTime = time.Millisecond
	var names []string
	for path, script := range engineBackends {
		s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { script(c, bufio.NewReader(c)) })
		g.Backends = append(g.Backends, gateway.Backend{Path: path, Addr: s.Addr, Engine: true})
		names = append(names, path)
	}
	r := startServer(t, withOffload(g))
	end := time.Now().Add(time.Second)
	var clients sync.WaitGroup
	for i := range 12 {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 3))
			for n := 0; time.Now().Before(end) && !t.Failed(); n++ {
				var asked []string
				for len(asked) < 1+random.IntN(8) {
					asked = append(asked, fmt.Sprintf("%s/%d-%d-%d", names[random.IntN(len(names))], i, n, len(asked)))
				}
				askAll(t, r.addr, asked, random.IntN(4) == 0)
				if random.IntN(8) == 0 {
					p.DropAll(g.Backends[random.IntN(len(names))].Addr)
				}
			}
		})
	}
	waitGroup(t, &clients, "all goroutines of the test end")

	awaitEnginesRetired(t, g)
	for _, b := range g.Backends {
		p.DropAll(b.Addr)
	}
	assert.Zero(t, p.Stats().Permits, "a connection was not returned to the pool")
	assert.Positive(t, g.EngineCounts.Retried.Load(), "some requests were retried")
	s := g.EngineCounts.Snapshot()
	t.Logf("%d offloaded, %d done, %d failed, %d withdrawn", g.EngineCounts.Pushed.Load(),
		s.Done, s.Failed, s.Withdrawn)
}

// askAll sends requests for all paths on one connection. It checks the
// responses, or resets the connection if leaves is true.
func askAll(t *testing.T, addr string, asked []string, leaves bool) {
	c, err := net.DialTimeout("tcp", addr, maxWait)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	for _, path := range asked {
		io.WriteString(c, get(path))
	}
	if leaves {
		c.(*net.TCPConn).SetLinger(0)
		return
	}
	c.SetDeadline(time.Now().Add(maxWait))
	in := bufio.NewReader(c)
	for _, path := range asked {
		a, err := http.ReadResponse(in, nil)
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Errorf("%s is not answered. unanswered.go, resolveUnanswered", path)
			return
		} else if err != nil {
			return // truncated
		}
		body, err := io.ReadAll(a.Body)
		good := strings.HasPrefix(path, "/good") || strings.HasPrefix(path, "/thrice")
		switch {
		case err != nil && strings.HasPrefix(path, string(body)):
			return // truncated
		case err != nil || a.StatusCode == 200 && string(body) != path:
			t.Errorf("%s was answered with %q: another request's response. http1read.go, read", path, body)
		case strings.HasPrefix(path, "/good") && a.StatusCode != 200, !good && a.StatusCode == 200:
			t.Errorf("%s was answered with %d", path, a.StatusCode)
		}
	}
}
