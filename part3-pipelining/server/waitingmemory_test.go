package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var drivers = []string{"serial", "goroutines", "loop"}

// startDriver is startServer with a driver of the test's choice.
func startDriver(t *testing.T, driver string, change ...func(*Server)) *testServer {
	t.Helper()
	if driver == "loop" && DefaultDriver != "loop" {
		t.Skip("there is no loop on this system")
	}
	return startServer(t, append(change, func(s *Server) {
		drivers, err := newDrivers(s, driver)
		require.NoError(t, err)
		for _, d := range s.drivers {
			d.closeUnused()
		}
		s.drivers, s.Limits.Driver = drivers, driver
	})...)
}

// heapInUse returns the bytes of the heap that are in use. It collects garbage twice, because
// a sync.Pool keeps its contents through one collection.
func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// readBodies reads n responses to GET, and wants all their bodies to be as long as size.
func readBodies(c net.Conn, n, size int) error {
	in := bufio.NewReader(c)
	for i := range n {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			return fmt.Errorf("response %d: %w", i+1, err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != 200 || i > 0 && len(body) != size {
			return fmt.Errorf("response %d: %s with %d bytes, %v", i+1, r.Status, len(body), err)
		}
	}
	return nil
}

// 40 clients ask for something slow, and for 31 long responses behind it. Without a
// budget the server holds 80 MB for them.
func TestWaitingResponsesAreBoundedForTheProcess(t *testing.T) {
	const clients, depth, budget = 40, 32, 4 << 20
	long := make([]byte, maxBuffered)
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			release, started := make(chan struct{}), make(chan struct{}, clients)
			r := startDriver(t, driver, func(s *Server) { s.Limits.WaitingMemory = budget }, withHandler(func(w *Response, r *Request) {
				if string(r.Path) == "/slow" {
					started <- struct{}{}
					<-release
				}
				w.Write(long)
			}))
			before := heapInUse()
			var all []net.Conn
			for range clients {
				all = append(all, converse(t, r.addr, get("/slow")+strings.Repeat(get("/long"), depth-1)))
			}
			for range clients {
				receive(t, started, "every head of a queue is handled, whatever others have taken")
			}
			eventually(t, "all that may wait has been answered", func() bool { return quiet(r) })

			used := r.memory.used.Load()
			held, bound := heapInUse()-before, r.Limits.ProcessMemory(clients)*5/4 // a slice that grows has up to a quarter more than it needs
			t.Logf("%d clients hold %d KiB; the limits say %d; %d KiB of the budget are out", clients, held>>10, bound>>10, used>>10)
			assert.LessOrEqual(t, used, int64(budget), "house rule: the budget is never overdrawn (waitingmemory.go, takeCredit)")
			assert.LessOrEqual(t, held, bound, "house rule: limits.go says what the process may hold in bytes")

			close(release)
			ends := make(chan error, clients)
			for _, c := range all {
				go func() { ends <- readBodies(c, depth, len(long)) }() // ends at the connection's deadline
			}
			for range clients {
				assert.NoError(t, receive(t, ends, "all clients get all responses"), "at the budget readers stop, and nothing fails")
			}
			eventually(t, "all credit is back", func() bool { return r.memory.used.Load() == 0 })
		})
	}
}

// quiet says whether every connection waits for a handler only, and the kernel has the
// rest of its requests.
func quiet(r *testServer) bool {
	quiet := true
	r.forEachConn(func(t *transport) {
		undone := 0
		for s := t.slots.head; s != nil; s = s.next {
			if !s.done {
				undone++
			}
		}
		full := t.inputState == stalled || t.slots.length == r.Limits.Pipeline || r.Limits.Driver == "serial"
		quiet = quiet && undone == 1 && full
	})
	return quiet
}

// A budget of 0 makes of every pipeline one request at a time, and of none an error.
func TestTheHeadOfAQueueNeedsNoCredit(t *testing.T) {
	const depth = 40
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			most := make(chan int, depth)
			atWork := make(chan struct{}, depth)
			r := startDriver(t, driver, func(s *Server) { s.Limits.WaitingMemory = 0 }, withHandler(func(w *Response, r *Request) {
				atWork <- struct{}{}
				runtime.Gosched()
				most <- len(atWork)
				<-atWork
				w.WriteString("done\n")
			}))

			c := converse(t, r.addr, strings.Repeat(get("/"), depth))

			require.NoError(t, readBodies(c, depth, len("done\n")), "house rule: the head of a queue needs no credit (waitingmemory.go, mayWait)")
			for range depth {
				assert.Equal(t, 1, <-most, "requests of one connection at work")
			}
		})
	}
}

// Clients that go, or whose handlers are late, take no credit with them.
func TestCreditComesBackHoweverARequestEnds(t *testing.T) {
	for _, driver := range drivers[1:] {
		t.Run(driver, func(t *testing.T) {
			release, started := make(chan struct{}), make(chan struct{}, 200)
			r := startDriver(t, driver, func(s *Server) { s.Limits.HandlerTime = 4 * testTimeout }, withHandler(func(w *Response, r *Request) {
				started <- struct{}{}
				if string(r.Path) == "/hang" {
					<-release
				}
				w.Write(make([]byte, maxBuffered))
			}))
			gone := converse(t, r.addr, get("/hang")+strings.Repeat(get("/"), 5)+get("/hang"))
			late := converse(t, r.addr, strings.Repeat(get("/hang"), 3)+get("/", closeField))
			deaf := converse(t, r.addr, strings.Repeat(get("/"), 31)+get("/hang"))
			for range 7 + 4 + 32 {
				receive(t, started, "all handlers begin")
			}
			assert.Positive(t, r.memory.used.Load())

			gone.SetLinger(0)
			gone.Close()
			transcript{}.readAll(late)
			deaf.Close()
			close(release)

			eventually(t, "all credit is back (waitingmemory.go, returnCredit)", func() bool { return r.memory.used.Load() == 0 })
		})
	}
}

// Of 8 places the first connection gets half, the second half of the rest, and so on.
func TestAConnectionLeavesAsMuchAsItHas(t *testing.T) {
	s := &Server{Limits: DefaultLimits}
	s.Limits.WaitingMemory = 8 * s.Limits.slotMemory()
	for i, want := range []int{4, 2, 1, 1, 0} {
		c, got := &conn{srv: s}, 0
		c.slots.length = 1 // its head, which needs none
		for c.mayWait() {
			_, ok := c.takeCredit()
			require.True(t, ok, "mayWait and takeCredit agree")
			got++
		}
		_, ok := c.takeCredit()
		require.False(t, ok, "mayWait and takeCredit agree")
		assert.Equal(t, want, got, "connection %d", i+1)
	}
	assert.Equal(t, 8*s.Limits.slotMemory(), s.memory.used.Load(), "what is refused is not taken")
}

// A crowd that has gone leaves no heap behind: two collections, once.
func TestMemoryGoesBackWhenACrowdHasGone(t *testing.T) {
	s := &Server{Limits: DefaultLimits, clock: newClock()}
	collections := func() uint32 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NumForcedGC
	}
	ticks := func(n int) (forced uint32) {
		before := collections()
		for range n {
			s.releaseToOS()
		}
		return collections() - before
	}
	assert.Zero(t, ticks(3), "a server that never held much")
	s.memory.used.Store(s.Limits.WaitingMemory)
	assert.Zero(t, ticks(3), "while it is held")
	s.memory.used.Store(0)
	assert.EqualValues(t, 2, ticks(5), "when it is back")
	s.memory.used.Store(s.Limits.WaitingMemory)
	ticks(1)
	s.memory.used.Store(0)
	assert.Zero(t, ticks(3), "a crowd that comes again at once")
	s.clock.nanos.Add(int64(time.Minute))
	assert.EqualValues(t, 2, ticks(5), "a minute later")
}

// takeAll is a connection of s that has read n requests and taken what it may of them.
func takeAll(s *Server, n int) (c *conn, taken []*exchange) {
	c = &newTransport(s, noopDriver{}, &sync.Mutex{}, &exchangeCache{}, -1, netip.Addr{}).conn
	c.onEvent(false)
	c.onRead(copy(c.readSpace(), strings.Repeat(get("/"), n)))
	for x := c.takeRequest(); x != nil; x = c.takeRequest() {
		taken = append(taken, x)
	}
	c.endTurn()
	return c, taken
}

func finishAll(c *conn, all ...*exchange) {
	for _, x := range all {
		x.res.WriteString("done\n")
		x.encoded = x.res.finish(x.encoded[:0])
		c.complete(x)
	}
}

// wants says whether c asks for do, among what it asks for.
func wants(c *conn, do action) bool {
	for {
		next, ok := c.nextAction()
		if !ok || next == do {
			return ok
		}
	}
}

// A client that does not read has its responses wait where they have credit.
func TestResponsesWaitInTheirSlotsWhileAClientDoesNotRead(t *testing.T) {
	s := &Server{Limits: DefaultLimits, clock: newClock()}
	c, all := takeAll(s, 3)
	finishAll(c, all[0])
	require.True(t, wants(c, actionWrite))
	c.output.onBlocked()

	finishAll(c, all[1:]...)

	assert.Nil(t, c.output.next, "what gathers on the way out has no credit (writequeue.go, full)")
	assert.Equal(t, 2, c.slots.length)
	assert.Positive(t, s.memory.used.Load())
	c.onEvent(false) // there is room again
	require.True(t, wants(c, actionWrite))
	c.onWritten(len(c.output.unsent))
	assert.NotNil(t, c.output.next)
	assert.Zero(t, s.memory.used.Load())
}

// What others give back is found out at the next tick.
func TestAStalledConnectionLooksAgainAtEveryTick(t *testing.T) {
	s := &Server{Limits: DefaultLimits, clock: newClock()}
	s.Limits.WaitingMemory = 3 * s.Limits.slotMemory()
	first, taken := takeAll(s, 2)
	second, got := takeAll(s, 3)
	require.Len(t, taken, 2)
	require.Len(t, got, 2)
	require.Equal(t, stalled, second.inputState)
	second.checkDeadlines()
	require.Equal(t, stalled, second.inputState, "nothing has been given back")

	finishAll(first, taken...)
	second.checkDeadlines()

	assert.Equal(t, parsing, second.inputState, "house rule: a reader continues when there is memory again (deadlines.go, checkDeadlines)")
	assert.True(t, wants(second, actionTurn))
}
