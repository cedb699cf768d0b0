package engine

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
)

// Frames that cost us work and bring no response forward end the connection, after
// StreamLimits.Control of them in a row.
func TestFloodsEndTheConnection(t *testing.T) {
	t.Parallel()
	frame := func(kind http2.FrameType, flags http2.Flags, id uint32, payload string) []byte {
		return testutil.HTTP2RawFrame(kind, flags, id, payload)
	}
	ended := frame(http2.FrameHeaders, http2.FlagEndHeaders|http2.FlagEndStream, 1, "\x88")
	for _, c := range []struct {
		name         string
		first, flood []byte
		want         string // of the first request
	}{
		{"PING", nil, frame(http2.FramePing, 0, 0, "12345678"), "again"},
		{"PING ack", nil, frame(http2.FramePing, http2.FlagAck, 0, "12345678"), "again"},
		{"SETTINGS", nil, frame(http2.FrameSettings, 0, 0, ""), "again"},
		{"SETTINGS ack", nil, frame(http2.FrameSettings, http2.FlagAck, 0, ""), "again"},
		{"empty DATA", frame(http2.FrameHeaders, http2.FlagEndHeaders, 1, "\x88"), frame(http2.FrameData, 0, 1, ""), "again"},
		{"padding", frame(http2.FrameHeaders, http2.FlagEndHeaders, 1, "\x88"), frame(http2.FrameData, http2.FlagPadded, 1, "\x02\x00\x00"), "again"},
		{"empty CONTINUATION", frame(http2.FrameHeaders, 0, 1, "\x88"), frame(http2.FrameContinuation, 0, 1, ""), "again"},
		{"CONTINUATION", frame(http2.FrameHeaders, 0, 1, "\x88"), frame(http2.FrameContinuation, 0, 1, strings.Repeat("\x88", 1000)), "again"},
		{"PRIORITY", nil, frame(http2.FramePriority, 0, 1, "\x00\x00\x00\x00\x10"), "again"},
		{"WINDOW_UPDATE", nil, frame(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x01"), "again"},
		{"WINDOW_UPDATE of a stream", nil, frame(http2.FrameWindowUpdate, 0, 1, "\x00\x00\x00\x01"), "again"},
		{"GOAWAY", nil, frame(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x03\x00\x00\x00\x00"), "again"},
		{"unknown frames", nil, frame(0x21, 0, 0, ""), "again"},
		{"HEADERS on a stream that has ended", ended, frame(http2.FrameHeaders, http2.FlagEndHeaders, 1, "\x88"), ""},
		{"DATA on a stream that has ended", ended, frame(http2.FrameData, 0, 1, "x"), ""},
		{"RST_STREAM on a stream that has ended", ended, frame(http2.FrameRSTStream, 0, 1, "1234"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			seen := &framesSeen{}
			s := testutil.ServeHTTP2(t, func(h *testutil.HTTP2Conn) {
				if h.Settings(); h.Number == 1 {
					h.AwaitRequest()
					h.AwaitRequest()
					h.Send(c.first)
					h.Send(bytes.Repeat(c.flood, 300))
				}
				respondAgain(h, seen)
			})
			y := newStreamYard(t, s.Addr, func(y *streamYard) { y.Limits.Control = 100 })
			first, second := y.get(t, "/1"), y.get(t, "/2")

			seen.await(t, "GOAWAY ENHANCE_YOUR_CALM")
			assert.Equal(t, "200 "+c.want, first.outcome(t))
			assert.Equal(t, "200 again", second.outcome(t))
		})
	}
}

// What an honest backend sends between two pieces of a response is no flood.
func TestControlFramesAmongResponsesAreNoFlood(t *testing.T) {
	t.Parallel()
	const pieces = 20
	s := testutil.ServeHTTP2(t, func(c *testutil.HTTP2Conn) {
		c.Settings()
		c.AwaitRequest()
		c.Head(1, false, "200")
		for i := range pieces {
			c.Send(bytes.Repeat(http2.AppendPing(nil, false, pingData[:]), 40))
			c.Send(bytes.Repeat(http2.AppendWindowUpdate(nil, 0, 1), 40))
			c.Data(1, i == pieces-1, "x")
			for range 40 {
				c.Await(http2.FramePing)
			}
		}
		c.WaitForEnd()
	})
	y := newStreamYard(t, s.Addr, func(y *streamYard) { y.Limits.Control = 100 })

	assert.Equal(t, "200 "+strings.Repeat("x", pieces), y.get(t, "/").outcome(t))
}

// A backend that resets each stream, or refuses it, or ends each connection gets a request a
// few times and no more.
func TestBackendThatEndsEachStreamGetsARequestAFewTimes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method string
		end          func(c *testutil.HTTP2Conn, id uint32)
		times        int
	}{
		{"reset", "GET", func(c *testutil.HTTP2Conn, id uint32) { c.Reset(id, http2.InternalError) }, 2},
		{"reset", "POST", func(c *testutil.HTTP2Conn, id uint32) { c.Reset(id, http2.InternalError) }, 1},
		{"refused", "GET", func(c *testutil.HTTP2Conn, id uint32) { c.Reset(id, http2.RefusedStream) }, maxRefusals + 1},
		{"refused", "POST", func(c *testutil.HTTP2Conn, id uint32) { c.Reset(id, http2.RefusedStream) }, maxRefusals + 1},
		{"GOAWAY before it", "GET", func(c *testutil.HTTP2Conn, id uint32) { c.GoAway(id-1, http2.NoError) }, maxRefusals + 1},
		{"GOAWAY before it", "POST", func(c *testutil.HTTP2Conn, id uint32) { c.GoAway(id-1, http2.NoError) }, maxRefusals + 1},
		{"GOAWAY after it, and the end", "GET", func(c *testutil.HTTP2Conn, id uint32) { c.GoAway(id, http2.NoError); c.Close() }, 2},
		{"GOAWAY after it, and the end", "POST", func(c *testutil.HTTP2Conn, id uint32) { c.GoAway(id, http2.NoError); c.Close() }, 1},
		{"the end", "GET", func(c *testutil.HTTP2Conn, id uint32) { c.Close() }, 2},
		{"the end", "POST", func(c *testutil.HTTP2Conn, id uint32) { c.Close() }, 1},
		{"half a response, and the end", "GET", func(c *testutil.HTTP2Conn, id uint32) { c.Head(id, false, "200"); c.Data(id, false, "x"); c.Close() }, 2},
		{"half a response, and the end", "POST", func(c *testutil.HTTP2Conn, id uint32) { c.Head(id, false, "200"); c.Data(id, false, "x"); c.Close() }, 1},
	} {
		t.Run(fmt.Sprint(c.name, c.method), func(t *testing.T) {
			t.Parallel()
			times := make(chan string, 100)
			s := testutil.ServeHTTP2(t, func(h *testutil.HTTP2Conn) {
				h.Settings()
				for {
					q, ok := h.AwaitRequest()
					if !ok {
						return
					}
					times <- q.Fields[":path"]
					c.end(h, q.StreamID)
				}
			})
			y := newStreamYard(t, s.Addr)
			q := getRequest("/")
			q.Method = []byte(c.method)

			got := y.push(t, someClient, q).outcome(t)

			assert.NotContains(t, got, "200")
			assert.Len(t, times, c.times, "the backend sees it. http2pass.go, decide")
		})
	}
}
