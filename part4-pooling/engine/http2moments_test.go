package engine

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
)

// Every frame, at every wrong moment. A backend has two requests on a connection, the
// victim on stream 1 and its neighbour on stream 3, and sends a frame when it should not.
// There are four outcomes:
//
//	ok        the frame is allowed, or ignored: both requests get their responses
//	stream    the victim fails, its stream is reset with PROTOCOL_ERROR, and the neighbour gets its response
//	again     the victim is sent again, and the neighbour gets its response
//	GOAWAY    the connection ends with PROTOCOL_ERROR, and what was not answered is sent again on another one
//
// RFC 9113 is stricter in one point: frames on a stream after its END_STREAM are a stream
// error (§5.1). We cannot tell these streams from the ones that we have reset, on which
// such frames are on their way and must be ignored: that would take a list of them.

// frameMoments are the columns of the table.
var frameMoments = []struct {
	name   string
	stream uint32 // of the frame; 0 for frames of the connection, if fixed is false
	fixed  bool   // the stream is the same for all frames
	reach  func(c *testutil.HTTP2Conn)
	finish func(c *testutil.HTTP2Conn) // respond to the victim
}{
	{"idle stream", 9, true, nil, respondFirst},
	{"stream 0", 0, true, nil, respondFirst},
	{"even stream", 2, true, nil, respondFirst},
	{"in a header block", 1, false, func(c *testutil.HTTP2Conn) {
		c.Send(testutil.HTTP2RawFrame(http2.FrameHeaders, 0, 3, string(testutil.HTTP2Block(":status", "200"))))
	}, func(c *testutil.HTTP2Conn) {}},
	{"before the head", 1, false, nil, respondFirst},
	{"in the body", 1, false, func(c *testutil.HTTP2Conn) {
		c.Head(1, false, "200")
		c.Data(1, false, "fi")
	}, func(c *testutil.HTTP2Conn) { c.Data(1, true, "rst") }},
	{"after END_STREAM", 1, false, respondFirst, func(c *testutil.HTTP2Conn) {}},
	{"after our RST_STREAM", 1, false, func(c *testutil.HTTP2Conn) { c.Await(http2.FrameRSTStream) }, func(c *testutil.HTTP2Conn) {}},
	{"after GOAWAY", 1, false, func(c *testutil.HTTP2Conn) { c.GoAway(3, http2.NoError) }, respondFirst},
}

func respondFirst(c *testutil.HTTP2Conn) { c.Respond(1, "first") }

// frameTable has a row for each type of frame, and a column for each moment.
var frameTable = []struct {
	kind       http2.FrameType
	flags      http2.Flags
	payload    string
	connection bool // the frame belongs to stream 0
	want       string
}{
	//                                                                                idle   0      even   block  before in     after  reset  after
	//                                                                                                            head   body   END           GOAWAY
	{http2.FrameData, 0, "", false, "                                                 GOAWAY GOAWAY GOAWAY GOAWAY stream ok     ok     ok     stream"},
	{http2.FrameHeaders, http2.FlagEndHeaders, interimBlock, false, "                 GOAWAY GOAWAY GOAWAY GOAWAY ok     stream ok     ok     ok"},
	{http2.FrameContinuation, http2.FlagEndHeaders, interimBlock, false, "            GOAWAY GOAWAY GOAWAY GOAWAY GOAWAY GOAWAY GOAWAY GOAWAY GOAWAY"},
	{http2.FramePriority, 0, "\x00\x00\x00\x00\x10", false, "                         ok     GOAWAY ok     GOAWAY ok     ok     ok     ok     ok"},
	{http2.FrameRSTStream, 0, "\x00\x00\x00\x08", false, "                            GOAWAY GOAWAY GOAWAY GOAWAY again  again  ok     ok     again"},
	{http2.FrameSettings, 0, "", true, "                                              GOAWAY ok     GOAWAY GOAWAY ok     ok     ok     ok     ok"},
	{http2.FrameSettings, http2.FlagAck, "", true, "                                  GOAWAY ok     GOAWAY GOAWAY ok     ok     ok     ok     ok"},
	{http2.FramePing, 0, "12345678", true, "                                          GOAWAY ok     GOAWAY GOAWAY ok     ok     ok     ok     ok"},
	{http2.FramePing, http2.FlagAck, "12345678", true, "                              GOAWAY ok     GOAWAY GOAWAY ok     ok     ok     ok     ok"},
	{http2.FramePushPromise, http2.FlagEndHeaders, "\x00\x00\x00\x02\x82", false, "   GOAWAY GOAWAY GOAWAY GOAWAY GOAWAY GOAWAY GOAWAY GOAWAY GOAWAY"},
	{http2.FrameGoAway, 0, "\x00\x00\x00\x03\x00\x00\x00\x00", true, "                GOAWAY ok     GOAWAY GOAWAY ok     ok     ok     ok     ok"},
	{http2.FrameWindowUpdate, 0, "\x00\x00\x00\x01", false, "                         GOAWAY ok     GOAWAY GOAWAY ok     ok     ok     ok     ok"},
	{0x21, 0x7f, "what is this?", false, "                                            ok     ok     ok     GOAWAY ok     ok     ok     ok     ok"},
}

var interimBlock = string(testutil.HTTP2Block(":status", "103"))

func TestEveryFrameAtEveryWrongMoment(t *testing.T) {
	t.Parallel()
	for _, row := range frameTable {
		outcomes := strings.Fields(row.want)
		for i, m := range frameMoments {
			id := m.stream
			if row.connection && !m.fixed {
				id = 0
			}
			frame := testutil.HTTP2RawFrame(row.kind, row.flags, id, row.payload)
			t.Run(fmt.Sprintf("%v %#x %s", row.kind, row.flags, m.name), func(t *testing.T) {
				t.Parallel()
				seen := &framesSeen{}
				s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
					c.Settings()
					if c.Number > 1 {
						respondAgain(c, seen)
						return
					}
					c.AwaitRequest()
					c.AwaitRequest()
					if m.reach != nil {
						m.reach(c)
					}
					c.Send(frame)
					m.finish(c)
					c.Respond(3, "first")
					respondAgain(c, seen)
				})
				y := newStreamYard(t, s.Addr)
				victim, neighbour := y.get(t, "/victim"), y.get(t, "/neighbour")
				if m.name == "after our RST_STREAM" {
					l := y.laneOf(t)
					testutil.Eventually(t, "both have their streams", func() bool {
						l.mu.Lock()
						defer l.mu.Unlock()
						return l.nextID == 5
					})
					victim.left.Store(true)
				}

				got := [2]string{victim.outcome(t), neighbour.outcome(t)}

				want := [2]string{"200 first", "200 first"}
				switch outcomes[i] {
				case "again":
					want[0] = "200 again"
				case "GOAWAY":
					seen.await(t, "GOAWAY PROTOCOL_ERROR")
					want = [2]string{"200 again", "200 again"}
					if m.name == "after END_STREAM" {
						want[0] = "200 first"
					}
				case "stream":
					seen.await(t, "RST_STREAM PROTOCOL_ERROR")
					want[0] = got[0]
					assert.NotContains(t, got[0], "200")
				}
				if m.name == "after our RST_STREAM" {
					want[0] = "withdrawn"
				}
				assert.Equal(t, want, got, "the victim and its neighbour")
				if outcomes[i] == "ok" || outcomes[i] == "again" {
					assert.Empty(t, seen.String())
				}
			})
		}
	}
}

// respondAgain responds to all requests, and records what ends streams and connections.
func respondAgain(c *testutil.HTTP2Conn, seen *framesSeen) {
	for {
		f, ok := c.Next()
		switch {
		case !ok:
			return
		case f.Type == http2.FrameHeaders:
			c.Respond(f.StreamID, "again")
		case f.Type == http2.FrameRSTStream:
			seen.add("RST_STREAM " + f.Code().String())
		case f.Type == http2.FrameGoAway:
			_, code, _ := f.LastStreamAndCode()
			seen.add("GOAWAY " + code.String())
		}
	}
}

// A framesSeen is what a backend has seen. It is safe for concurrent use.
type framesSeen struct {
	mu  sync.Mutex
	all []string
}

func (s *framesSeen) add(one string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, one)
}

func (s *framesSeen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.all, ", ")
}

func (s *framesSeen) await(t *testing.T, want string) {
	t.Helper()
	testutil.Eventually(t, "the backend has seen "+want+", not only "+s.String(), func() bool { return s.String() == want })
}
