package engine

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
)

// A windowKeeper is a backend that counts what the windows allow while it opens them a
// little, in every way there is.
type windowKeeper struct {
	t      *testing.T
	c      *testutil.HTTP2Conn
	random *rand.Rand
	first  int // SETTINGS_INITIAL_WINDOW_SIZE
	all    int // the window of the connection
	of     map[uint32]int
	body   map[uint32]string
	unread int // streams that have not ended
}

// read handles frames until the condition holds, and reports whether the connection lives.
func (k *windowKeeper) read(done func(f testutil.HTTP2Frame) bool) bool {
	for {
		f, ok := k.c.Next()
		if !ok {
			return false
		}
		switch f.Type {
		case http2.FrameHeaders:
			k.of[f.StreamID] = k.first
			k.unread++
		case http2.FrameData:
			k.of[f.StreamID] -= f.Length
			k.all -= f.Length
			if k.of[f.StreamID] < 0 && f.Length > 0 || k.all < 0 {
				k.t.Errorf("MUST NOT, RFC 9113 §6.9: DATA of %d bytes on stream %d is more than the windows allow: they are now %d and %d", f.Length, f.StreamID, k.of[f.StreamID], k.all)
			}
			k.body[f.StreamID] += string(f.Payload)
		}
		if f.EndsStream() && (f.Type == http2.FrameData || f.Type == http2.FrameHeaders) {
			k.unread--
		}
		if done(f) {
			return true
		}
	}
}

// open opens one window a little.
func (k *windowKeeper) open() bool {
	n := 1 + k.random.IntN(40)
	switch k.random.IntN(4) {
	case 0: // all streams, and perhaps below 0
		k.c.Settings(http2.Setting{ID: http2.SettingInitialWindowSize, Value: uint32(n)})
		isAck := func(f testutil.HTTP2Frame) bool { return f.Type == http2.FrameSettings && f.Flags&http2.FlagAck != 0 }
		if !k.read(isAck) { // what was sent before the ack was sent under the old setting
			return false
		}
		for id := range k.of {
			k.of[id] += n - k.first
		}
		k.first = n
	case 1:
		k.all += n
		k.c.Send(http2.AppendWindowUpdate(nil, 0, uint32(n)))
	default:
		for id := range k.of {
			k.of[id] += n
			k.c.Send(http2.AppendWindowUpdate(nil, id, uint32(n)))
			break
		}
	}
	return true
}

// Bodies keep within the windows, however small they are and however they change, and
// arrive whole.
func TestUploadsKeepWithinTheWindows(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			const streams, size = 3, 2000
			bodies := make(chan map[uint32]string, 1)
			s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
				k := &windowKeeper{t: t, c: c, random: rand.New(rand.NewPCG(seed, 9)), all: http2.DefaultWindow, of: map[uint32]int{}, body: map[uint32]string{}}
				c.Settings(http2.Setting{ID: http2.SettingInitialWindowSize, Value: 0})
				if !k.read(func(testutil.HTTP2Frame) bool { return len(k.of) == streams }) {
					return
				}
				for k.unread > 0 {
					for range 8 {
						if !k.open() {
							return
						}
					}
					c.Send(http2.AppendPing(nil, false, pingData[:]))
					if !k.read(func(f testutil.HTTP2Frame) bool { return f.Type == http2.FramePing }) {
						return
					}
				}
				bodies <- k.body
				for id := range k.of {
					c.Respond(id, "ok")
				}
				c.WaitForEnd()
			})
			y := newStreamYard(t, s.Addr, func(y *streamYard) { y.Limits.Control = 100000 })
			var sinks []*streamSink
			var want []string
			for i := range streams {
				body := strings.Repeat(fmt.Sprint(i), size)
				q := postRequest("/", body)
				if i == 1 {
					q.Body, q.Stream, q.Length = nil, strings.NewReader(body), http1.Chunked
				}
				want = append(want, body)
				sinks = append(sinks, y.send(t, q))
			}

			got := testutil.Receive(t, bodies, "all bodies")
			assert.ElementsMatch(t, want, []string{got[1], got[3], got[5]})
			for _, s := range sinks {
				assert.Equal(t, "200 ok", s.outcome(t))
			}
		})
	}
}

// The window of the connection is for all its streams.
func TestUploadsShareTheWindowOfTheConnection(t *testing.T) {
	t.Parallel()
	got := make(chan int, 1)
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings(http2.Setting{ID: http2.SettingInitialWindowSize, Value: 1 << 20})
		n, asked := 0, false
		for {
			f, ok := c.Next()
			switch {
			case !ok:
				return
			case f.Type == http2.FramePing: // what is sent too much comes before the answer
				got <- n
				c.Send(http2.AppendWindowUpdate(nil, 0, 1<<20))
			case f.Type == http2.FrameData && f.EndsStream():
				c.Respond(f.StreamID, "ok")
			}
			if f.Type == http2.FrameData {
				n += f.Length
			}
			if n >= http2.DefaultWindow && !asked {
				asked = true
				c.Send(http2.AppendPing(nil, false, pingData[:]))
			}
		}
	})
	y := newStreamYard(t, s.Addr)
	first, second := y.send(t, postRequest("/", strings.Repeat("a", 60000))), y.send(t, postRequest("/", strings.Repeat("b", 60000)))

	assert.Equal(t, http2.DefaultWindow, testutil.Receive(t, got, "a full window"))
	assert.Equal(t, "200 ok", first.outcome(t))
	assert.Equal(t, "200 ok", second.outcome(t))
}

// A backend that opens no window for a body fails that request alone.
func TestBackendThatDoesNotReadABodyIsATimeout(t *testing.T) {
	t.Parallel()
	seen := &framesSeen{}
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings(http2.Setting{ID: http2.SettingInitialWindowSize, Value: 0})
		for {
			f, ok := c.Next()
			switch {
			case !ok:
				return
			case f.Type == http2.FrameHeaders && f.EndsStream():
				c.Respond(f.StreamID, "ok")
			case f.Type == http2.FrameRSTStream:
				seen.add("RST_STREAM " + f.Code().String())
			}
		}
	})
	y := newStreamYard(t, s.Addr)
	y.timeouts.Idle = 150 * time.Millisecond
	upload := y.send(t, postRequest("/", "body"))

	assert.Contains(t, upload.outcome(t), client.ErrBodyTimeout.Error())
	seen.await(t, "RST_STREAM CANCEL")
	assert.Equal(t, "200 ok", y.get(t, "/").outcome(t))
	assert.Equal(t, 1, s.Accepted())
}

// A client that reads nothing stops its own response. The backend gets no more window than
// what was taken, and others go on.
func TestSinkThatBlocksStopsItself(t *testing.T) {
	t.Parallel()
	const window = 16 << 10
	credit := make(chan int, 1000)
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		c.AwaitRequest()
		c.Head(1, false, "200")
		c.Data(1, false, strings.Repeat("x", window))
		for {
			f, ok := c.Next()
			switch {
			case !ok:
				return
			case f.Type == http2.FrameHeaders:
				c.Respond(f.StreamID, "ok")
			case f.Type == http2.FrameWindowUpdate && f.StreamID == 1:
				credit <- int(f.WindowIncrement())
				c.Data(1, true, "the end")
			}
		}
	})
	y := newStreamYard(t, s.Addr, func(y *streamYard) { y.Limits.Window = window })
	release := make(chan struct{})
	blocked := y.get(t, "/blocked", func(s *streamSink) {
		s.room, s.onData = 0, func([]byte) error { <-release; return nil }
	})

	for range 50 {
		assert.Equal(t, "200 ok", y.get(t, "/").outcome(t))
	}
	assert.Empty(t, credit, "window for what the sink has not taken. pump.go, passOn")
	assert.Zero(t, blocked.received())
	close(release)

	assert.Equal(t, window, testutil.Receive(t, credit, "window for what the sink has taken"))
	assert.Equal(t, "200 "+strings.Repeat("x", window)+"the end", blocked.outcome(t))
	assert.Equal(t, 1, s.Accepted())
}

// Eight endless responses to sinks that take nothing wait in memory of one window each, and
// not more, although the backend sends as fast as it may (E7).
func TestBlockedResponsesStayWithinTheirWindows(t *testing.T) {
	t.Parallel()
	const window, many = 32 << 10, 8
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		left := map[uint32]int{}
		for {
			f, ok := c.Next()
			switch {
			case !ok:
				return
			case f.Type == http2.FrameHeaders:
				c.Head(f.StreamID, false, "200")
				left[f.StreamID] = window
			case f.Type == http2.FrameWindowUpdate && f.StreamID > 0:
				left[f.StreamID] += int(f.WindowIncrement())
			}
			for id, n := range left {
				for ; n > 0; n -= 1000 {
					c.Data(id, false, strings.Repeat("x", min(n, 1000)))
				}
				left[id] = 0
			}
		}
	})
	y := newStreamYard(t, s.Addr, func(y *streamYard) { y.Limits.Window = window })
	release := make(chan struct{})
	var taken atomic.Int64
	var sinks []*streamSink
	for range many {
		sinks = append(sinks, y.get(t, "/", func(s *streamSink) {
			s.room, s.onData = 0, func(piece []byte) error { taken.Add(int64(len(piece))); <-release; return nil }
		}))
	}
	l := y.laneOf(t)
	held := func() (n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, s := range l.streams {
			if p := s.pump; p != nil {
				p.mu.Lock()
				n += cap(p.data)
				p.mu.Unlock()
			}
		}
		return n
	}
	arrived := func() (n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, s := range l.streams {
			n += window - s.window
		}
		return n
	}

	testutil.Eventually(t, "all windows are used up", func() bool { return arrived() == many*window })
	assert.LessOrEqual(t, held(), many*2*window, "append may make the memory twice as large. pump.go, addData")
	for _, s := range sinks {
		s.left.Store(true)
	}
	close(release)
	for _, s := range sinks {
		assert.Equal(t, "withdrawn", s.outcome(t))
	}
}

// A response that is complete before the request is ends the upload.
func TestEarlyResponseStopsTheUpload(t *testing.T) {
	t.Parallel()
	reset := make(chan http2.ErrorCode, 1)
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		c.AwaitRequest()
		c.Await(http2.FrameData)
		c.Head(1, false, "413")
		c.Data(1, true, "too large")
		if f, ok := c.Await(http2.FrameRSTStream); ok {
			reset <- f.Code()
		}
		c.RespondToAll()
	})
	y := newStreamYard(t, s.Addr)
	q := postRequest("/", "")
	q.Stream, q.Length = testutil.Zeros{}, http1.Chunked // it never ends

	sink := y.send(t, q)

	assert.Equal(t, "413 too large", sink.outcome(t))
	assert.Equal(t, http2.NoError, testutil.Receive(t, reset, "RST_STREAM: otherwise the stream stays open at the backend for ever. http2pass.go, passed"))
	testutil.Receive(t, sink.returned, "RoundTrip returns")
	assert.Equal(t, "200 /next", y.get(t, "/next").outcome(t))
	assert.Equal(t, 1, s.Accepted())
}

// A body that cannot be read to its end resets its stream, so that the backend does not take
// what it has for the whole.
func TestUploadThatFailsResetsItsStream(t *testing.T) {
	t.Parallel()
	reset := make(chan http2.ErrorCode, 1)
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		c.AwaitRequest()
		for {
			f, ok := c.Next()
			if !ok {
				return
			}
			if f.Type == http2.FrameData && f.EndsStream() {
				t.Error("the body ends as if it was whole. http2upload.go, send")
			}
			if f.Type == http2.FrameRSTStream {
				reset <- f.Code()
				c.RespondToAll()
				return
			}
		}
	})
	y := newStreamYard(t, s.Addr)
	q := postRequest("/", "")
	q.Stream, q.Length = io.MultiReader(strings.NewReader("half"), testutil.FailingReader{}), http1.Chunked

	sink := y.send(t, q)

	assert.Contains(t, sink.outcome(t), client.ErrUpload.Error())
	assert.Equal(t, http2.Cancel, testutil.Receive(t, reset, "RST_STREAM"))
	assert.Equal(t, "200 /next", y.get(t, "/next").outcome(t))
	assert.Equal(t, 1, s.Accepted())
}

// A trailered is a body with trailers.
type trailered struct{ io.Reader }

func (trailered) TrailerFields() []http1.Field {
	return []http1.Field{{Name: []byte("Checksum"), Value: []byte("42")}}
}

func TestTrailersAndInterimResponsesPassBothWays(t *testing.T) {
	t.Parallel()
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		q, _ := c.AwaitRequest()
		body, trailers, _ := c.Body(q.StreamID)
		c.Head(q.StreamID, false, "103", "link", "<a>")
		c.Head(q.StreamID, false, "102")
		c.Head(q.StreamID, false, "200")
		c.Data(q.StreamID, false, body+" "+trailers["checksum"])
		c.Trailers(q.StreamID, "grpc-status", "0")
		c.WaitForEnd()
	})
	y := newStreamYard(t, s.Addr)
	q := postRequest("/", "")
	q.Stream, q.Length = trailered{strings.NewReader("body")}, http1.Chunked

	sink := y.send(t, q)

	assert.Equal(t, "200 body 42", sink.outcome(t))
	assert.Equal(t, []int{103, 102}, sink.interims)
	assert.Equal(t, map[string]string{"grpc-status": "0"}, sink.trailers)
}

// While a response waits for its turn its stream is given back, and the request is sent again
// in its turn.
func TestStreamOfAResponseThatWaitsIsGivenBack(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"Push", "RoundTrip"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			turn, reset := make(chan struct{}), make(chan struct{})
			s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
				c.Settings(maxStreams(1))
				q, _ := c.AwaitRequest()
				c.Head(q.StreamID, false, "200")
				c.Data(q.StreamID, false, strings.Repeat("x", 40<<10)[:16<<10])
				if f, ok := c.Await(http2.FrameRSTStream); ok {
					assert.Equal(t, http2.Cancel, f.Code())
					close(reset)
				}
				c.RespondToAll()
			})
			y := newStreamYard(t, s.Addr, func(y *streamYard) { y.pool.Limits.PerBackend = 1 })
			var gaveBack atomic.Bool
			park := func(s *streamSink) {
				s.room = 0
				s.onData = func([]byte) error {
					if !gaveBack.Swap(true) {
						return ErrGiveBack
					}
					return nil
				}
				s.onTurn = func() { <-turn }
			}
			var parked *streamSink
			if way == "Push" {
				parked = y.get(t, "/parked", park)
			} else {
				parked = y.send(t, getRequest("/parked"), park)
			}
			testutil.Receive(t, reset, "RST_STREAM of the response that waits")

			assert.Equal(t, "200 /other", y.get(t, "/other").outcome(t), "the stream is for others meanwhile")
			close(turn)
			assert.Equal(t, "200 /parked", parked.outcome(t))
			assert.Equal(t, 1, s.Accepted())
		})
	}
}

// Interim responses wait for a sink that blocks, like the rest; but there is no window for
// them. More than half a window of them is not kept.
func TestInterimResponsesCannotFillTheMemory(t *testing.T) {
	t.Parallel()
	sent := make(chan struct{})
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		c.AwaitRequest()
		for range 50 {
			c.Head(1, false, "103", "link", strings.Repeat("x", 8<<10))
		}
		c.AwaitRequest()
		c.Respond(3, "neighbour") // what was sent before has arrived, too
		close(sent)
		c.Respond(1, "ok")
		c.WaitForEnd()
	})
	y := newStreamYard(t, s.Addr)
	began, release := make(chan struct{}, 100), make(chan struct{})
	q := getRequest("/")
	sink := newStreamSink(q)
	interims := 0
	q.OnInterim = func(*client.Response) error { interims++; began <- struct{}{}; <-release; return nil }
	require.True(t, y.Push(y.addr, someClient, &sink.Job))
	testutil.Receive(t, began, "an interim response blocks the sink")

	assert.Equal(t, "200 neighbour", y.get(t, "/neighbour").outcome(t))
	close(release)

	assert.Equal(t, "200 ok", sink.outcome(t))
	assert.Less(t, interims, 10, "interim responses of 8 kB that were kept. pump.go, addInterim")
	assert.Positive(t, interims)
}

// A sink that takes its time is no fault of the backend, which may wait for it.
func TestSlowClientIsNoTimeoutOfTheBackend(t *testing.T) {
	t.Parallel()
	blocked, taken := make(chan struct{}), make(chan struct{}, 10)
	release := sync.OnceFunc(func() { close(blocked) })
	defer release()
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		c.AwaitRequest()
		c.Head(1, false, "200")
		c.Data(1, false, "half")
		<-blocked
		c.Data(1, true, ", and half")
		c.WaitForEnd()
	})
	y := newStreamYard(t, s.Addr)
	sink := y.get(t, "/", func(s *streamSink) {
		s.room, s.onData = 0, func([]byte) error { taken <- struct{}{}; <-blocked; return nil }
	})
	testutil.Receive(t, taken, "a piece of the body")
	l := y.laneOf(t)
	for range 3 { // ticks
		var before time.Time
		l.mu.Lock()
		for _, s := range l.streams {
			s.since = s.since.Add(-2 * y.timeouts.Idle)
		}
		before = l.armed
		l.mu.Unlock()
		testutil.Eventually(t, "the reader looks at its streams", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.armed.After(before)
		})
	}
	release()

	assert.Equal(t, "200 half, and half", sink.outcome(t), "http2tick.go, lateStreams")
}

// A backend that opens its windows wide, and then does not read, must not fill our memory with
// bodies either.
func TestUploadsWaitForABackendThatDoesNotRead(t *testing.T) {
	t.Parallel()
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.SetReadBuffer(4 << 10)
		c.Settings(http2.Setting{ID: http2.SettingInitialWindowSize, Value: 1 << 30})
		c.Send(http2.AppendWindowUpdate(nil, 0, 1<<30))
		<-t.Context().Done()
	})
	y := newStreamYard(t, s.Addr)
	for range 4 {
		q := postRequest("/", "")
		q.Stream, q.Length = testutil.Zeros{}, http1.Chunked
		y.send(t, q)
	}
	testutil.Eventually(t, "all requests are accepted", func() bool { return y.counts.Pushed.Load() == 4 })
	l := y.laneOf(t)

	testutil.Eventually(t, "all uploads wait", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		waiting := len(l.out) >= maxOut // a writer that waits opens no more streams
		for _, s := range l.streams {
			waiting = waiting && s.stalled && s.sendWindow > 1<<20
		}
		assert.LessOrEqual(t, len(l.out), maxOut+http2.FrameHeaderLen+http2.DefaultMaxFrame, "bytes that wait to be written. http2upload.go, sendBody")
		return waiting || t.Failed()
	})
}
