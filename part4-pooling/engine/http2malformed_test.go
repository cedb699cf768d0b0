package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/internal/testutil"
)

// A backend speaks HTTP/2 if its first frame is SETTINGS (RFC 9113 §3.4). It gets no request
// before, and none at all if it does not.
func TestFirstFrameMustBeSettings(t *testing.T) {
	t.Parallel()
	const notHTTP2 = "does not speak HTTP/2"
	for _, c := range []struct{ first, want string }{
		{string(testutil.HTTP2RawFrame(http2.FrameData, 0, 1, "x")), notHTTP2},
		{string(testutil.HTTP2RawFrame(http2.FrameHeaders, http2.FlagEndHeaders, 1, "\x88")), notHTTP2},
		{string(testutil.HTTP2RawFrame(http2.FrameContinuation, http2.FlagEndHeaders, 1, "\x88")), notHTTP2},
		{string(testutil.HTTP2RawFrame(http2.FramePriority, 0, 1, "12345")), notHTTP2},
		{string(testutil.HTTP2RawFrame(http2.FrameRSTStream, 0, 1, "1234")), notHTTP2},
		{string(testutil.HTTP2RawFrame(http2.FrameSettings, http2.FlagAck, 0, "")), notHTTP2},
		{string(testutil.HTTP2RawFrame(http2.FrameSettings, 0, 1, "")), notHTTP2},
		{string(testutil.HTTP2RawFrame(http2.FrameSettings, 0, 0, "\x00\x02\x00\x00\x00\x01")), notHTTP2}, // ENABLE_PUSH
		{string(testutil.HTTP2RawFrame(http2.FrameSettings, 0, 0, "\x00\x04\x80\x00\x00\x00")), notHTTP2}, // a window of 2^31
		{string(testutil.HTTP2RawFrame(http2.FrameSettings, 0, 0, "\x00\x05\x00\x00\x3f\xff")), notHTTP2}, // frames of 2^14-1
		{string(testutil.HTTP2RawFrame(http2.FrameSettings, 0, 0, "12345")), notHTTP2},
		{string(testutil.HTTP2RawFrame(http2.FramePing, 0, 0, "12345678")), notHTTP2},
		{string(testutil.HTTP2RawFrame(http2.FramePushPromise, http2.FlagEndHeaders, 1, "\x00\x00\x00\x02\x82")), notHTTP2},
		{string(testutil.HTTP2RawFrame(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x00")), notHTTP2},
		{string(testutil.HTTP2RawFrame(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x01")), notHTTP2},
		{string(testutil.HTTP2RawFrame(0x21, 0, 0, "?")), notHTTP2},
		{"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", notHTTP2},
		{"", "ended"},
		{"\x00\x00\x06\x04", "ended"},
	} {
		t.Run(fmt.Sprintf("%q", c.first), func(t *testing.T) {
			t.Parallel()
			s := testutil.ServeHTTP2(t, func(h *testutil.HTTP2Conn) {
				if h.Send([]byte(c.first)); !strings.Contains(c.want, "ended") {
					_, asked := h.AwaitRequest()
					assert.False(t, asked, "no request is sent before SETTINGS have arrived. http2read.go, awaitSettings")
				}
			})
			y := newStreamYard(t, s.Addr)

			assert.Contains(t, y.get(t, "/").outcome(t), c.want)
			if c.want == notHTTP2 {
				assert.Equal(t, 1, s.Accepted(), "connections: the next one would be no better")
			} else {
				assert.Equal(t, maxRefusals+1, s.Accepted(), "connections: the backend might restart")
			}
		})
	}
}

func TestBackendThatNeverSendsSettingsIsATimeout(t *testing.T) {
	t.Parallel()
	s := testutil.ServeHTTP2(t, func(h *testutil.HTTP2Conn) { h.WaitForEnd() })
	y := newStreamYard(t, s.Addr)
	y.timeouts.Connect = 50 * time.Millisecond

	assert.Contains(t, y.get(t, "/").outcome(t), client.ErrHeadTimeout.Error())
}

// Responses that are malformed, and some that look so. The connection lives on.
func TestMalformedResponses(t *testing.T) {
	t.Parallel()
	head := func(c *testutil.HTTP2Conn, end bool, fields ...string) {
		c.Send(http2.AppendHeaders(nil, 1, testutil.HTTP2Block(fields...), end, http2.DefaultMaxFrame))
	}
	many := []string{":status", "200"}
	for i := range 201 {
		many = append(many, fmt.Sprint("f", i), "x")
	}
	for _, c := range []struct {
		name, method string
		send         func(c *testutil.HTTP2Conn)
		want         string // of the outcome
		reset        string
	}{
		{"a body of the announced length", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, false, "200", "content-length", "2"); c.Data(1, true, "ok") }, "200 ok", ""},
		{"END_STREAM in an empty DATA", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, false, "200"); c.Data(1, false, "ok"); c.Data(1, true, "") }, "200 ok", ""},
		{"padding", "GET", func(c *testutil.HTTP2Conn) {
			c.Head(1, false, "200", "content-length", "2")
			c.Send(testutil.HTTP2RawFrame(http2.FrameData, http2.FlagPadded|http2.FlagEndStream, 1, "\x03ok\x00\x00\x00"))
		}, "200 ok", ""},
		{"a longer body", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, false, "200", "content-length", "1"); c.Data(1, true, "ok") }, "malformed", "PROTOCOL_ERROR"},
		{"a shorter body", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, false, "200", "content-length", "3"); c.Data(1, true, "ok") }, "malformed", "PROTOCOL_ERROR"},
		{"a body that never began", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, true, "200", "content-length", "3") }, "malformed", "PROTOCOL_ERROR"},
		{"a shorter body and trailers", "GET", func(c *testutil.HTTP2Conn) {
			c.Head(1, false, "200", "content-length", "3")
			c.Data(1, false, "ok")
			c.Trailers(1, "a", "b")
		}, "malformed", "PROTOCOL_ERROR"},
		{"two lengths", "GET", func(c *testutil.HTTP2Conn) {
			c.Head(1, false, "200", "content-length", "2", "content-length", "3")
			c.Data(1, true, "ok")
		}, "malformed", "PROTOCOL_ERROR"},
		{"the same length twice", "GET", func(c *testutil.HTTP2Conn) {
			c.Head(1, false, "200", "content-length", "2", "content-length", "2")
			c.Data(1, true, "ok")
		}, "malformed", "PROTOCOL_ERROR"},
		{"DATA before the head", "GET", func(c *testutil.HTTP2Conn) { c.Data(1, true, "ok") }, "malformed", "PROTOCOL_ERROR"},
		{"DATA in response to HEAD", "HEAD", func(c *testutil.HTTP2Conn) { c.Head(1, false, "200", "content-length", "2"); c.Data(1, true, "ok") }, "malformed", "PROTOCOL_ERROR"},
		{"a length in response to HEAD", "HEAD", func(c *testutil.HTTP2Conn) { c.Head(1, true, "200", "content-length", "2") }, "200 ", ""},
		{"empty DATA in response to HEAD", "HEAD", func(c *testutil.HTTP2Conn) { c.Head(1, false, "200", "content-length", "2"); c.Data(1, true, "") }, "200 ", ""},
		{"DATA with 204", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, false, "204"); c.Data(1, true, "ok") }, "malformed", "PROTOCOL_ERROR"},
		{"DATA with 304", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, false, "304", "content-length", "2"); c.Data(1, true, "ok") }, "malformed", "PROTOCOL_ERROR"},
		{"304 with a length", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, true, "304", "content-length", "2") }, "304 ", ""},
		{"no :status", "GET", func(c *testutil.HTTP2Conn) { head(c, true, "a", "b") }, "malformed", "PROTOCOL_ERROR"},
		{"no fields", "GET", func(c *testutil.HTTP2Conn) { head(c, true) }, "malformed", "PROTOCOL_ERROR"},
		{":status twice", "GET", func(c *testutil.HTTP2Conn) { head(c, true, ":status", "200", ":status", "200") }, "malformed", "PROTOCOL_ERROR"},
		{":status after a field", "GET", func(c *testutil.HTTP2Conn) { head(c, true, "a", "b", ":status", "200") }, "malformed", "PROTOCOL_ERROR"},
		{"a request's pseudo-field", "GET", func(c *testutil.HTTP2Conn) { head(c, true, ":status", "200", ":path", "/") }, "malformed", "PROTOCOL_ERROR"},
		{"101", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, false, "101"); c.Data(1, true, "") }, "malformed", "PROTOCOL_ERROR"},
		{"upper case", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, true, "200", "Server", "x") }, "malformed", "PROTOCOL_ERROR"},
		{"a line end in a value", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, true, "200", "a", "b\r\nset-cookie: c") }, "malformed", "PROTOCOL_ERROR"},
		{"Transfer-Encoding", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, true, "200", "transfer-encoding", "chunked") }, "malformed", "PROTOCOL_ERROR"},
		{"Connection", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, true, "200", "connection", "close") }, "malformed", "PROTOCOL_ERROR"},
		{"too many fields", "GET", func(c *testutil.HTTP2Conn) { head(c, true, many...) }, "malformed", "PROTOCOL_ERROR"},
		{"a field that is too long", "GET", func(c *testutil.HTTP2Conn) {
			c.Head(1, true, "200", "a", strings.Repeat("x", client.MaxHead))
		}, "too long", "PROTOCOL_ERROR"},
		{"a second head", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, false, "200"); c.Head(1, false, "200") }, "malformed", "PROTOCOL_ERROR"},
		{"trailers", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, false, "200"); c.Data(1, false, "ok"); c.Trailers(1, "a", "b") }, "200 ok", ""},
		{"trailers without a body", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, false, "200"); c.Trailers(1, "a", "b") }, "200 ", ""},
		{"trailers that end nothing", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, false, "200"); head(c, false, "a", "b") }, "malformed", "PROTOCOL_ERROR"},
		{"a pseudo-field in trailers", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, false, "200"); c.Trailers(1, ":status", "200") }, "malformed", "PROTOCOL_ERROR"},
		{"an interim response that ends the stream", "GET", func(c *testutil.HTTP2Conn) { c.Head(1, true, "103") }, "malformed", "PROTOCOL_ERROR"},
		{"interim responses", "GET", func(c *testutil.HTTP2Conn) {
			c.Head(1, false, "103", "link", "<a>")
			c.Head(1, false, "102")
			c.Respond(1, "ok")
		}, "200 ok", ""},
		{"101 interim responses", "GET", func(c *testutil.HTTP2Conn) {
			for range 101 {
				c.Head(1, false, "103")
			}
		}, "malformed", "PROTOCOL_ERROR"},
		{"a window of 0 more", "GET", func(c *testutil.HTTP2Conn) {
			c.Send(testutil.HTTP2RawFrame(http2.FrameWindowUpdate, 0, 1, "\x00\x00\x00\x00"))
		}, "malformed", "PROTOCOL_ERROR"},
		{"a window that is too large", "GET", func(c *testutil.HTTP2Conn) {
			c.Send(http2.AppendWindowUpdate(nil, 1, http2.MaxWindow-http2.DefaultWindow+1))
		}, "malformed", "FLOW_CONTROL_ERROR"},
		{"the largest window", "GET", func(c *testutil.HTTP2Conn) {
			c.Send(http2.AppendWindowUpdate(nil, 1, http2.MaxWindow-http2.DefaultWindow))
			c.Respond(1, "ok")
		}, "200 ok", ""},
		{"more than the window", "GET", func(c *testutil.HTTP2Conn) {
			c.Head(1, false, "200")
			for range 5 {
				c.Data(1, false, strings.Repeat("x", http2.DefaultMaxFrame))
			}
		}, "malformed", "FLOW_CONTROL_ERROR"},
		{"HTTP_1_1_REQUIRED", "GET", func(c *testutil.HTTP2Conn) { c.Reset(1, http2.HTTP11Required) }, "HTTP/1.1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			seen, release := &framesSeen{}, make(chan struct{})
			s := testutil.ServeHTTP2(t, func(h *testutil.HTTP2Conn) {
				h.Settings()
				h.AwaitRequest()
				h.AwaitRequest()
				c.send(h)
				h.Respond(3, "neighbour")
				respondAgain(h, seen)
			})
			y := newStreamYard(t, s.Addr)
			q := getRequest("/")
			q.Method = []byte(c.method)
			sink := y.push(t, someClient, q, func(s *streamSink) {
				if c.name == "more than the window" { // the client reads nothing
					s.room, s.onData = 0, func([]byte) error { <-release; return nil }
				}
			})
			neighbour := y.get(t, "/neighbour")

			assert.Equal(t, "200 neighbour", neighbour.outcome(t), "an error of one stream is none of another (RFC 9113 §5.4.2)")
			if close(release); strings.HasPrefix(c.want, "200") || strings.HasPrefix(c.want, "304") {
				assert.Equal(t, c.want, sink.outcome(t))
			} else {
				got := sink.outcome(t)
				assert.NotRegexp(t, "^[2-5]0", got)
				if c.want != "malformed" {
					assert.Contains(t, got, c.want)
				}
			}
			if c.reset != "" {
				seen.await(t, "RST_STREAM "+c.reset)
			} else {
				assert.Empty(t, seen.String())
			}
			assert.Equal(t, 1, s.Accepted(), "the connection lives on")
		})
	}
}

// What ends the connection, whatever stream it is about.
func TestFaultsThatEndAConnection(t *testing.T) {
	t.Parallel()
	settings := func(id http2.SettingID, value uint32) string {
		return string(http2.AppendSettings(nil, http2.Setting{ID: id, Value: value}))
	}
	kilobytes16 := strings.Repeat("\x88", http2.DefaultMaxFrame)
	for _, c := range []struct{ name, send, code string }{
		{"a frame that is too long", "\x00\x40\x01\x00\x00\x00\x00\x00\x01", "FRAME_SIZE_ERROR"},
		{"PING of 7 bytes", string(testutil.HTTP2RawFrame(http2.FramePing, 0, 0, "1234567")), "FRAME_SIZE_ERROR"},
		{"SETTINGS of 5 bytes", string(testutil.HTTP2RawFrame(http2.FrameSettings, 0, 0, "12345")), "FRAME_SIZE_ERROR"},
		{"SETTINGS ack with a setting", string(testutil.HTTP2RawFrame(http2.FrameSettings, http2.FlagAck, 0, "123456")), "FRAME_SIZE_ERROR"},
		{"RST_STREAM of 5 bytes", string(testutil.HTTP2RawFrame(http2.FrameRSTStream, 0, 1, "12345")), "FRAME_SIZE_ERROR"},
		{"WINDOW_UPDATE of 3 bytes", string(testutil.HTTP2RawFrame(http2.FrameWindowUpdate, 0, 1, "123")), "FRAME_SIZE_ERROR"},
		{"padding as long as the frame", string(testutil.HTTP2RawFrame(http2.FrameData, http2.FlagPadded, 1, "\x05abc")), "PROTOCOL_ERROR"},
		{"a server that turns push on", settings(http2.SettingEnablePush, 1), "PROTOCOL_ERROR"},
		{"a first window of 2^31", settings(http2.SettingInitialWindowSize, 1<<31), "FLOW_CONTROL_ERROR"},
		{"frames of 2^14-1 bytes", settings(http2.SettingMaxFrameSize, 1<<14-1), "PROTOCOL_ERROR"},
		{"the connection's window by 0", "\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00", "PROTOCOL_ERROR"},
		{"the connection's window beyond 2^31-1", string(http2.AppendWindowUpdate(nil, 0, http2.MaxWindow)), "FLOW_CONTROL_ERROR"},
		{"a stream's window beyond 2^31-1, by SETTINGS", string(http2.AppendWindowUpdate(nil, 1, http2.MaxWindow-http2.DefaultWindow)) + settings(http2.SettingInitialWindowSize, 1<<16), "FLOW_CONTROL_ERROR"},
		{"no HPACK", string(testutil.HTTP2RawFrame(http2.FrameHeaders, http2.FlagEndHeaders, 1, "\x80")), "COMPRESSION_ERROR"},
		{"the dynamic table, whose size is 0", string(testutil.HTTP2RawFrame(http2.FrameHeaders, http2.FlagEndHeaders, 1, "\xbe")), "COMPRESSION_ERROR"},
		{"a table larger than allowed", string(testutil.HTTP2RawFrame(http2.FrameHeaders, http2.FlagEndHeaders, 1, "\x3f\xe1\x1f\x88")), "COMPRESSION_ERROR"},
		{"half a field", string(testutil.HTTP2RawFrame(http2.FrameHeaders, http2.FlagEndHeaders, 1, "\x88\x00\x05abc")), "COMPRESSION_ERROR"},
		{"no HPACK on a stream that has ended", string(testutil.HTTP2RawFrame(http2.FrameHeaders, http2.FlagEndHeaders|http2.FlagEndStream, 1, "\x88")) + string(testutil.HTTP2RawFrame(http2.FrameHeaders, http2.FlagEndHeaders, 1, "\x80")), "COMPRESSION_ERROR"},
		{"a header block of 48 KiB", string(testutil.HTTP2RawFrame(http2.FrameHeaders, 0, 1, kilobytes16)) + string(testutil.HTTP2RawFrame(http2.FrameContinuation, 0, 1, kilobytes16)) + string(testutil.HTTP2RawFrame(http2.FrameContinuation, 0, 1, kilobytes16)), "ENHANCE_YOUR_CALM"},
		{"a second GOAWAY with a later stream", string(http2.AppendGoAway(nil, 1, 0, "")) + string(http2.AppendGoAway(nil, 3, 0, "")), "PROTOCOL_ERROR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			seen := &framesSeen{}
			s := testutil.ServeHTTP2(t, func(h *testutil.HTTP2Conn) {
				if h.Settings(); h.Number == 1 {
					h.AwaitRequest()
					h.AwaitRequest()
					h.Send([]byte(c.send))
				}
				respondAgain(h, seen)
			})
			y := newStreamYard(t, s.Addr)
			first, second := y.get(t, "/1"), y.get(t, "/2")

			seen.await(t, "GOAWAY "+c.code)
			if c.name != "no HPACK on a stream that has ended" {
				assert.Equal(t, "200 again", first.outcome(t), "what was not answered is sent again. http2read.go, refuse")
			}
			assert.Equal(t, "200 again", second.outcome(t))
			assert.Equal(t, 2, s.Accepted())
		})
	}
}
