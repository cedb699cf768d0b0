package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
)

// A failureMode is a misbehaving backend and the statuses that a client of the
// gateway may get; 0 means a truncated response or none.
type failureMode struct {
	path   string
	script func(c *net.TCPConn, in *bufio.Reader)
	may    []int
}

var failureModes = []failureMode{
	{"/good", func(c *net.TCPConn, in *bufio.Reader) {
		testutil.ReadRequests(in, func(*http.Request) bool { _, err := io.WriteString(c, testutil.Response200("good")); return err == nil })
	}, []int{200}},
	{"/closes", func(c *net.TCPConn, in *bufio.Reader) {
		testutil.ReadRequests(in, func(*http.Request) bool { io.WriteString(c, testutil.Response200("once")); return false })
	}, []int{200, 502}}, // 502: a POST crossed the close
	{"/resets", func(c *net.TCPConn, in *bufio.Reader) {
		testutil.ReadRequests(in, func(*http.Request) bool {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 50_000))
			c.SetLinger(0)
			return false
		})
	}, []int{0, 502}},
	{"/garbage", func(c *net.TCPConn, in *bufio.Reader) {
		testutil.ReadRequests(in, func(*http.Request) bool { io.WriteString(c, "\x16\x03\x01 what?\r\n\r\n"); return false })
	}, []int{502}},
	{"/silent", func(c *net.TCPConn, in *bufio.Reader) { io.Copy(io.Discard, in) }, []int{504}},
	{"/chatty", func(c *net.TCPConn, in *bufio.Reader) {
		testutil.ReadRequests(in, func(*http.Request) bool {
			io.WriteString(c, testutil.Response200("chatty")+testutil.Response200("INJECTED"))
			return true
		})
	}, []int{200, 502}},
	{"/slams", func(c *net.TCPConn, in *bufio.Reader) { c.SetLinger(0) }, []int{502}},
	{"/hasty", func(c *net.TCPConn, in *bufio.Reader) { // responds before it has read the body
		for _, err := http.ReadRequest(in); err == nil; _, err = http.ReadRequest(in) {
			io.WriteString(c, earlyHints+"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno\n")
			c.CloseWrite()
			io.Copy(io.Discard, in)
		}
	}, []int{413}},
}

// A tally counts the results of clients. It is safe for concurrent use.
type tally struct {
	mu    sync.Mutex
	count map[string]int
}

func (t *tally) add(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count[what]++
}

// to returns the number of results of requests for path.
func (t *tally) to(path string) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for what, count := range t.count {
		if strings.HasPrefix(what, path+" ") {
			n += count
		}
	}
	return n
}

func (t *tally) String() string {
	text, total := "", 0
	for _, what := range slices.Sorted(maps.Keys(t.count)) {
		text += fmt.Sprintf("  %-14s %7d\n", what, t.count[what])
		total += t.count[what]
	}
	return fmt.Sprintf("%d requests:\n%s", total, text)
}

// Whatever fails, each client gets the right status or a detectable truncation,
// and no connection and no descriptor leaks. CHAOS=10m makes it longer; go test
// then needs -timeout 15m.
func TestChaosLeaksNothing(t *testing.T) { // not parallel: it counts descriptors
	skipIfJudging(t)
	length, _ := time.ParseDuration(os.Getenv("CHAOS"))
	if length == 0 && (testing.Short() || raceDetector) {
		length = 2 * time.Second // shorter under -race, where the test is repeated with -count=20
	} else if length == 0 {
		length = 3 * time.Second
	}
	p := pool.New(pool.Limits{PerBackend: 8, Total: 40, OneClient: true, MaxWait: maxWait, IdleTime: time.Second, Lifetime: 2 * time.Second})
	p.StartEvictor(100 * time.Millisecond)
	defer p.Close()
	g, impatient := gateway.New(p, nil), gateway.New(p, nil)
	impatient.Timeouts.Head = 20 * time.Millisecond // only for /silent: on a loaded machine the others may need longer
	may := map[string][]int{"/paused": {200, 502, 503, 504}}
	for _, d := range failureModes {
		s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { d.script(c, bufio.NewReader(c)) })
		may[d.path] = d.may
		if d.path == "/silent" {
			impatient.Backends = append(impatient.Backends, gateway.Backend{Path: d.path, Addr: s.Addr})
		} else {
			g.Backends = append(g.Backends, gateway.Backend{Path: d.path, Addr: s.Addr})
		}
	}
	paused, err := startPausableServer()
	require.NoError(t, err)
	defer paused.stop()
	g.Backends = append(g.Backends, gateway.Backend{Path: "/paused", Addr: paused.addr})
	r := startServer(t, withHandler(impatient.Handler(g.Handler(routes()))))
	paths := slices.Sorted(maps.Keys(may))
	before := descriptors()

	var clients sync.WaitGroup
	end := time.Now().Add(length)
	clients.Go(func() { // and in the end kills it
		for time.Now().Before(end) {
			paused.pause()
			time.Sleep(60 * time.Millisecond) // the length of the pause; no synchronization
			paused.resume()
			time.Sleep(60 * time.Millisecond) // the time between two pauses
		}
		paused.cmd.Process.Kill()
	})
	answers := &tally{count: map[string]int{}}
	for i := range 16 {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for time.Now().Before(end) {
				path := paths[random.IntN(len(paths))]
				chaosClient(t, r.addr, path, may[path], random, answers)
			}
		})
	}
	waitGroup(t, &clients, "all goroutines of the test end")

	t.Logf("in %v %s", length, answers)
	t.Logf("gateway: %+v; /silent: %+v", g.Counts.Snapshot(), impatient.Counts.Snapshot())
	for _, b := range p.Stats().Backends {
		t.Logf("pool: leased %d, idle %d, %+v", b.Leased, b.Idle, b.Counts)
	}
	for _, path := range paths {
		assert.Positive(t, answers.to(path), "%s: the test met this failure", path)
	}
	t.Logf("descriptors: %d, before %d", descriptors(), before)
	began := time.Now()
	eventually(t, "all leases are returned and idle connections closed", func() bool {
		for _, b := range p.Stats().Backends {
			if b.Leased != 0 || b.Waiting != 0 {
				return false
			}
			p.DropAll(b.Addr)
		}
		return p.Stats().Permits == 0
	})
	eventually(t, "no descriptor leaks", func() bool { return descriptors() <= before })
	t.Logf("all connections are returned and descriptors closed after %v", time.Since(began).Round(time.Millisecond))
	assert.Less(t, time.Since(began), maxWait/2, "that should happen within the gateway's own timeouts") // 1 s on an idle machine
	sendAndRead(t, r.addr, "house rule: a gateway survives its backends", "gateway.go", get("/good", closeField)).wantPrefix(t, "HTTP/1.1 200 OK\r\n")
}

// chaosClient is one client: it sends a request and reads the response, or
// closes after a random number of bytes.
func chaosClient(t *testing.T, addr, path string, may []int, random *rand.Rand, answers *tally) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(maxWait))
	request := get(path, closeField)
	if random.IntN(2) == 0 {
		request = post(path, strings.Repeat("b", random.IntN(40_000)), closeField)
	}
	if random.IntN(3) == 0 {
		io.WriteString(c, request[:random.IntN(len(request))])
		if random.IntN(2) == 0 {
			c.(*net.TCPConn).SetLinger(0)
		}
		answers.add("left early")
		return
	}
	io.WriteString(c, request)
	c.SetReadDeadline(time.Now().Add(maxWait))
	status, in := 0, bufio.NewReader(c)
	a, err := http.ReadResponse(in, nil)
	for err == nil && a.StatusCode < 200 {
		a, err = http.ReadResponse(in, nil)
	}
	if err == nil {
		body, err := io.ReadAll(a.Body)
		if status = a.StatusCode; err != nil {
			status = 0
		}
		if strings.Contains(string(body), "INJECTED") {
			t.Errorf("%s: got another request's response", path)
		}
	}
	if !slices.Contains(may, status) {
		t.Errorf("%s %s was answered with %d, want one of %v", request[:4], path, status, may)
	}
	answers.add(fmt.Sprintf("%s %d", path, status))
}

// descriptors returns the number of open descriptors, on systems that can tell.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
