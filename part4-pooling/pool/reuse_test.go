package pool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/socket"
)

// Reuse, when the server does not cooperate.

// runCallers runs callers goroutines that make each calls, and returns the errors.
func runCallers(callers, each int, call func(caller, n int) error) (failed []error) {
	var group sync.WaitGroup
	var mu sync.Mutex
	for i := range callers {
		group.Go(func() {
			for j := range each {
				if err := call(i, j); err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }() // ends with the last call
	select {
	case <-done:
	case <-time.After(3 * testutil.MaxWait):
		return []error{errors.New("some calls never end")}
	}
	return failed
}

func TestResponseWithCloseEndsTheConnection(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(int, *http.Request) string {
		return "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
	})
	p := newSmallPool(t, 5)

	failed := runCallers(10, 10, func(int, int) error { _, _, err := poolRoundTrip(p, s.Addr, postRequest("/", "x")); return err })

	assert.Empty(t, failed, "MUST, RFC 9112 §9.6: send nothing more on that connection. response.go, Close")
	assert.Zero(t, p.Stats().Permits)
	assert.Equal(t, 100, s.Accepted())
}

// A server that closes after each response without Connection: close loses every
// race. A request that may be repeated does not notice.
func TestSilentCloseFailsNoIdempotentRequest(t *testing.T) {
	t.Parallel()
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.Copy(io.Discard, r.Body)
			io.WriteString(c, testutil.Response200("hello"))
		}
	})
	p := newSmallPool(t, 5)

	gets := runCallers(10, 20, func(int, int) error { _, _, err := poolRoundTrip(p, s.Addr, getRequest("/")); return err })
	posts := runCallers(10, 20, func(int, int) error { _, _, err := poolRoundTrip(p, s.Addr, postRequest("/", "x")); return err })

	assert.Empty(t, gets, "house rule: check before reuse, and retry once on a new connection. roundtrip.go, RoundTrip")
	for _, err := range posts {
		assert.ErrorIs(t, err, client.ErrEnded, "a POST may fail, with this error")
	}
	b := p.Stats().Backend(s.Addr)
	assert.Zero(t, b.Leased)
	t.Logf("of 400 calls, half of them POST: %d connections found closed by a check, %d GETs retried, %d POSTs failed", b.Stale, b.Retried, len(posts))
}

func TestCloseWhileIdleFailsNoPOST(t *testing.T) {
	t.Parallel()
	s, p := testutil.ServePolite(t), newSmallPool(t, 1)
	_, _, err := poolRoundTrip(p, s.Addr, getRequest("/"))
	require.NoError(t, err)
	l := p.backends[s.Addr].idle[0]
	s.CloseAll()
	awaitPeerClose(t, l)

	_, body, err := poolRoundTrip(p, s.Addr, postRequest("/", "x"))

	require.NoError(t, err, "house rule: check before reuse. pool.go, checkOrDial")
	assert.Equal(t, "hello", body)
	assert.EqualValues(t, 1, p.Stats().Backend(s.Addr).Stale)
}

func TestManyCallersShareThePermits(t *testing.T) {
	t.Parallel()
	var servers []*testutil.Server
	for range 10 {
		servers = append(servers, testutil.ServePolite(t))
	}
	p := New(Limits{PerBackend: 5, Total: 20, MaxWait: testutil.MaxWait, IdleTime: time.Hour, Lifetime: time.Hour})
	defer p.Close()

	failed := runCallers(100, 20, func(caller, n int) error {
		_, _, err := poolRoundTrip(p, servers[(caller*7+n)%10].Addr, getRequest("/"))
		s := p.Stats()
		for _, b := range s.Backends {
			if b.Leased+b.Idle > 5 {
				err = errors.Join(err, fmt.Errorf("%d connections to one server", b.Leased+b.Idle))
			}
		}
		if s.Permits > 20 {
			err = errors.Join(err, fmt.Errorf("%d connections", s.Permits))
		}
		return err
	})

	assert.Empty(t, failed)
	for _, b := range p.Stats().Backends {
		assert.Zero(t, b.Leased+b.Waiting, "house rule: no caller waits while it could be served. waitqueue.go, grantWaiters")
	}
}

// The least patient caller possible: its time is up when it begins to wait.
func TestSimultaneousWaitTimeoutsLeakNothing(t *testing.T) {
	t.Parallel()
	s, p := testutil.ServePolite(t), newSmallPool(t, 2)
	p.Limits.MaxWait = time.Microsecond

	failed := runCallers(10, 200, func(int, int) error {
		l, err := p.Get(context.Background(), s.Addr, &testTimeouts)
		if err == nil {
			p.put(l, true)
		}
		return err
	})

	for _, err := range failed {
		require.ErrorIs(t, err, ErrWaitTimeout)
	}
	b := p.Stats().Backend(s.Addr)
	assert.Zero(t, b.Leased, "house rule: delivery or giving up is one decision. waitqueue.go, giveUp")
	assert.Zero(t, b.Waiting)
	assert.EqualValues(t, len(failed), b.GaveUp)
}

// close(2) can block. Other callers must not wait for it.
func TestSlowCloseDoesNotBlockOthers(t *testing.T) {
	t.Parallel()
	listen := make(chan bool)
	deaf := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { <-listen; io.Copy(io.Discard, c) })
	s, p := testutil.ServePolite(t), newSmallPool(t, 2)
	slow, err := p.Get(t.Context(), deaf.Addr, &testTimeouts)
	require.NoError(t, err)
	for err == nil { // until the send buffer is full of bytes that the server does not read
		_, err = socket.WriteNow(uintptr(slow.Sysfd), make([]byte, 64<<10))
	}
	require.ErrorIs(t, err, unix.EAGAIN)
	require.NoError(t, unix.SetsockoptLinger(slow.Sysfd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: int32(testutil.MaxWait.Seconds())})) // close(2) waits until the server has acknowledged it
	closed := make(chan bool)
	go func() { p.put(slow, false); close(closed) }()
	testutil.Eventually(t, "it is being closed", func() bool { return p.Stats().Backend(deaf.Addr).Leased == 0 })

	_, _, err = poolRoundTrip(p, s.Addr, getRequest("/"))

	require.NoError(t, err)
	select {
	case <-closed:
		t.Error("close did not block: the test has shown nothing")
	default: // close still blocks
	}
	close(listen)
	testutil.Receive(t, closed, "close returns")
}

// Timeouts.Total covers both tries: if the second one begins after its end, even an
// immediate response is too late.
func TestTotalTimeoutIncludesTheRetry(t *testing.T) {
	t.Parallel()
	const total = 50 * time.Millisecond
	s, _ := testutil.ServeThenDie(t)
	p := newSmallPool(t, 1)
	_, _, err := poolRoundTrip(p, s.Addr, getRequest("/"))
	require.NoError(t, err)
	p.Dial = func(ctx context.Context, addr string, timeout time.Duration) (*client.Conn, error) {
		time.Sleep(total) // a slow handshake: the subject of the test, not a wait for something
		return client.DialIP(ctx, addr, timeout)
	}

	_, err = p.RoundTrip(t.Context(), s.Addr, getRequest("/"), &client.Timeouts{Connect: testutil.MaxWait, Head: testutil.MaxWait, Idle: testutil.MaxWait, Total: total})

	assert.ErrorIs(t, err, client.ErrTotalTimeout)
	assert.Zero(t, p.Stats().Permits)
}

// No server has seen what the kernel never accepted, so even a POST may be sent
// again.
func TestUnsentPOSTIsRetried(t *testing.T) {
	t.Parallel()
	release := make(chan bool)
	s := testutil.ServeScript(t, func(c *net.TCPConn, number int) {
		testutil.ReadRequests(bufio.NewReader(c), func(r *http.Request) bool {
			io.WriteString(c, testutil.Response200("hello"))
			if number == 1 {
				<-release
				c.SetLinger(0) // close sends RST
				return false
			}
			return true
		})
	})
	p := newSmallPool(t, 1)
	l, err := p.Get(t.Context(), s.Addr, &testTimeouts)
	require.NoError(t, err)
	r, err := l.RoundTrip(t.Context(), getRequest("/"), &testTimeouts, time.Time{})
	require.NoError(t, err)
	readAll(r)
	l, err = p.Get(t.Context(), s.Addr, &testTimeouts)
	require.NoError(t, err)

	close(release) // after the check, before the write
	testutil.Eventually(t, "the RST has arrived", func() bool {
		info, err := unix.Poll([]unix.PollFd{{Fd: int32(l.Sysfd), Events: unix.POLLIN}}, 0)
		return err == nil && info == 1
	})
	c := postRequest("/", "x")
	_, err = l.RoundTrip(t.Context(), c, &testTimeouts, time.Time{})

	assert.ErrorIs(t, err, client.ErrEnded)
	assert.True(t, l.MayRetry(c, err), "house rule: a POST is retried if the kernel accepted no byte of it. retry.go, MayRetry")
	l.Release(false)
}

// A body that is held for 100 Continue has not been read when the connection
// ends. So it can be sent on another one, however long it is.
func TestUnsentBodyIsRetriedOnAnotherConnection(t *testing.T) {
	t.Parallel()
	got := make(chan int64, 1)
	s := testutil.ServeScript(t, func(c *net.TCPConn, number int) {
		in := bufio.NewReader(c)
		for n := 1; ; n++ {
			r, err := http.ReadRequest(in)
			if err != nil || number == 1 && n == 2 {
				return // as if its idle timer had fired
			}
			if r.Header.Get("Expect") != "" {
				io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
				size, _ := io.Copy(io.Discard, r.Body)
				got <- size
			}
			io.WriteString(c, testutil.Response200("ok"))
		}
	})
	p := newSmallPool(t, 1)
	_, _, err := poolRoundTrip(p, s.Addr, getRequest("/"))
	require.NoError(t, err)
	c := postRequest("/", "")
	c.Method = []byte("PUT")
	c.Stream, c.Length, c.ExpectContinue = io.LimitReader(testutil.Zeros{}, 100_000), 100_000, true

	status, _, err := poolRoundTrip(p, s.Addr, c)

	require.NoError(t, err, "house rule: a body that was not read can still be sent. retry.go, MayRetry")
	assert.Equal(t, 200, status)
	assert.EqualValues(t, 100_000, testutil.Receive(t, got, "the body"))
	assert.Equal(t, 2, s.Accepted())
}

// Some servers send a 408 when they close an idle connection. If it crosses with a
// request it looks like its response, and is not.
func TestStale408IsRetried(t *testing.T) {
	t.Parallel()
	const crossing = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
	var posts atomic.Int64
	s := testutil.ServeResponses(t, func(connection int, r *http.Request) string {
		if r.Method == "POST" {
			posts.Add(1)
		}
		if r.URL.Path != "/first" && connection%2 == 1 {
			return crossing
		}
		return testutil.Response200("ok")
	})
	for _, c := range []struct {
		call   *client.Request
		status int
	}{{getRequest("/"), 200}, {postRequest("/", "x"), 408}} {
		p := newSmallPool(t, 1)
		_, _, err := poolRoundTrip(p, s.Addr, getRequest("/first"))
		require.NoError(t, err)

		status, _, err := poolRoundTrip(p, s.Addr, c.call)

		require.NoError(t, err)
		assert.Equal(t, c.status, status, "MAY, RFC 9110 §15.5.9: a request that crossed with a 408 is retried on a new connection, if it may be repeated. retry.go, IsStale408")
	}
	assert.EqualValues(t, 1, posts.Load())
}

// What every request needs is allocated once.
func TestRequestsHardlyAllocate(t *testing.T) { // not parallel: it counts the allocations of the whole process
	if testutil.RaceDetector {
		t.Skip("the race detector allocates too")
	}
	addr, p, c := testutil.ServeCanned(t), newSmallPool(t, 1), getRequest("/")
	call := func() {
		r, err := p.RoundTrip(context.Background(), addr, c, &testTimeouts)
		if err == nil {
			_, err = r.Next()
		}
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	call()

	pooled := testing.AllocsPerRun(500, func() {
		l, err := p.Get(context.Background(), addr, &testTimeouts)
		if err != nil {
			t.Fatal(err)
		}
		p.put(l, true)
	})
	called := testing.AllocsPerRun(500, call)

	assert.Zero(t, pooled, "house rule: Get and put allocate nothing")
	assert.LessOrEqual(t, called, 2.0, "house rule: a request allocates its Response, and hardly more")
}
