package testutil

import (
	"io"
	"net"
	"testing"
	"time"

	"socketup/part4-pooling/http2"
)

// An HTTP2Conn is a connection to a backend that speaks HTTP/2 frame by frame, as a test
// says, rules or no rules. The script calls it from one goroutine; others may send too.
type HTTP2Conn struct {
	*net.TCPConn
	Number  int  // of the connection, counted from 1
	Frozen  bool // PINGs are not answered
	decoder *http2.Decoder
	in      []byte // has arrived and is not read
	begun   map[uint32]*HTTP2Request
}

// An HTTP2Request is a whole request.
type HTTP2Request struct {
	ID             uint32
	Fields         map[string]string // the value of a field that came twice is the last one
	Body           string
	Trailers       map[string]string
	Method, Target string
}

// An HTTP2Frame is a frame that the client has sent. A header block is one frame, whether it
// had CONTINUATION frames or not.
type HTTP2Frame struct {
	http2.Frame
	Fields map[string]string // of HEADERS; the value of a field that came twice is the last one
}

// EndsStream reports whether the frame is the client's last on its stream.
func (f HTTP2Frame) EndsStream() bool { return f.Flags&http2.FlagEndStream != 0 }

// ServeHTTP2 starts a Server that runs script for each connection, once the client's preface
// and SETTINGS have arrived. The script sends the server's SETTINGS, if it wants to be right.
func ServeHTTP2(t testing.TB, script func(c *HTTP2Conn)) *Server {
	t.Helper()
	return ServeScript(t, func(c *net.TCPConn, number int) {
		h := &HTTP2Conn{TCPConn: c, Number: number, decoder: http2.NewDecoder(http2.DefaultTableSize, 1<<20), begun: map[uint32]*HTTP2Request{}}
		preface := make([]byte, len(http2.Preface))
		if _, err := io.ReadFull(c, preface); err != nil {
			return
		}
		f, ok := h.Next()
		if string(preface) != http2.Preface || ok && (f.Type != http2.FrameSettings || f.Flags&http2.FlagAck != 0) {
			t.Errorf("MUST, RFC 9113 §3.4: the client begins with its preface and SETTINGS; it sent %q and %v", preface, f.Type)
		} else if ok {
			script(h)
		}
	})
}

// Next returns the next frame, or false if the connection has ended. It answers PINGs.
func (c *HTTP2Conn) Next() (HTTP2Frame, bool) {
	f, ok := c.nextFrame()
	if ok && f.Type == http2.FramePing && f.Flags&http2.FlagAck == 0 && !c.Frozen {
		c.Send(http2.AppendPing(nil, true, f.Payload))
	}
	if !ok || f.Type != http2.FrameHeaders {
		return HTTP2Frame{Frame: f}, ok
	}
	block, last := f.Payload, f
	for last.Flags&http2.FlagEndHeaders == 0 {
		if last, ok = c.nextFrame(); !ok || last.Type != http2.FrameContinuation || last.StreamID != f.StreamID {
			return HTTP2Frame{}, false
		}
		block = append(block, last.Payload...)
	}
	fields, refused := c.decoder.Decode(block, nil)
	if refused != nil {
		return HTTP2Frame{}, false
	}
	h := HTTP2Frame{f, map[string]string{}}
	for _, field := range fields {
		h.Fields[string(field.Name)] = string(field.Value)
	}
	return h, true
}

func (c *HTTP2Conn) nextFrame() (http2.Frame, bool) {
	for {
		f, n, refused := http2.ParseFrame(c.in, http2.DefaultMaxFrame)
		switch {
		case refused != nil:
			return http2.Frame{}, false
		case n > 0:
			f.Payload = append([]byte(nil), f.Payload...)
			c.in = c.in[n:]
			return f, true
		}
		buf := make([]byte, 64<<10)
		n, err := c.Read(buf)
		if err != nil {
			return http2.Frame{}, false
		}
		c.in = append(c.in, buf[:n]...)
	}
}

// Await returns the next frame of a type, and false if the connection has ended. It skips
// others, and answers SETTINGS meanwhile.
func (c *HTTP2Conn) Await(t http2.FrameType) (HTTP2Frame, bool) {
	for {
		f, ok := c.Next()
		if !ok || f.Type == t && (f.Flags&http2.FlagAck == 0 || t != http2.FrameSettings) {
			return f, ok
		}
		c.answer(f)
	}
}

// AwaitRequest is Await for the head of a request.
func (c *HTTP2Conn) AwaitRequest() (HTTP2Frame, bool) { return c.Await(http2.FrameHeaders) }

func (c *HTTP2Conn) answer(f HTTP2Frame) {
	if f.Type == http2.FrameSettings && f.Flags&http2.FlagAck == 0 {
		c.Send(http2.AppendSettingsAck(nil))
	}
}

// Body returns the body of the request on stream id, whose head has arrived, and its
// trailers. It skips other requests: NextRequest does not. It gives back the windows as the body arrives. It returns false if the stream or
// the connection has ended before the body was complete.
func (c *HTTP2Conn) Body(id uint32) (body string, trailers map[string]string, ok bool) {
	for {
		f, ok := c.Next()
		switch {
		case !ok, f.Type == http2.FrameRSTStream && f.StreamID == id:
			return body, nil, false
		case f.StreamID != id || f.Type != http2.FrameData && f.Type != http2.FrameHeaders:
			c.answer(f)
			continue
		case f.Type == http2.FrameHeaders:
			return body, f.Fields, f.EndsStream()
		}
		if body += string(f.Payload); f.EndsStream() {
			return body, nil, true
		}
		if f.Length > 0 {
			c.Send(http2.AppendWindowUpdate(http2.AppendWindowUpdate(nil, 0, uint32(f.Length)), id, uint32(f.Length)))
		}
	}
}

// Drain reads until the connection ends, and returns the last GOAWAY; ok is false if there
// was none.
func (c *HTTP2Conn) Drain() (code http2.ErrorCode, ok bool) {
	for {
		f, alive := c.Await(http2.FrameGoAway)
		if !alive {
			return code, ok
		}
		_, code, _ = f.LastStreamAndCode()
		ok = true
	}
}

// Send sends bytes as they are. A client that has gone is no fault.
func (c *HTTP2Conn) Send(b []byte) { c.Write(b) }

// Settings sends SETTINGS.
func (c *HTTP2Conn) Settings(all ...http2.Setting) { c.Send(http2.AppendSettings(nil, all...)) }

// Head sends a response head: fields are names and values in turn, after the status.
func (c *HTTP2Conn) Head(id uint32, end bool, status string, fields ...string) {
	c.Send(http2.AppendHeaders(nil, id, HTTP2Block(append([]string{":status", status}, fields...)...), end, http2.DefaultMaxFrame))
}

// Trailers sends fields, and ends the stream.
func (c *HTTP2Conn) Trailers(id uint32, fields ...string) {
	c.Send(http2.AppendHeaders(nil, id, HTTP2Block(fields...), true, http2.DefaultMaxFrame))
}

// Data sends a DATA frame.
func (c *HTTP2Conn) Data(id uint32, end bool, body string) {
	var flags http2.Flags
	if end {
		flags = http2.FlagEndStream
	}
	c.Send(HTTP2RawFrame(http2.FrameData, flags, id, body))
}

// Respond sends a whole response: 200 and body.
func (c *HTTP2Conn) Respond(id uint32, body string) {
	b := http2.AppendHeaders(nil, id, HTTP2Block(":status", "200"), false, http2.DefaultMaxFrame)
	c.Send(append(b, HTTP2RawFrame(http2.FrameData, http2.FlagEndStream, id, body)...))
}

// Reset sends RST_STREAM.
func (c *HTTP2Conn) Reset(id uint32, code http2.ErrorCode) {
	c.Send(http2.AppendRSTStream(nil, id, code))
}

// GoAway sends GOAWAY.
func (c *HTTP2Conn) GoAway(last uint32, code http2.ErrorCode) {
	c.Send(http2.AppendGoAway(nil, last, code, ""))
}

// NextRequest returns the next request that is complete, and false if the connection has
// ended. It gives back the windows as bodies arrive.
func (c *HTTP2Conn) NextRequest() (*HTTP2Request, bool) {
	for {
		f, ok := c.Next()
		if !ok {
			return nil, false
		}
		q := c.begun[f.StreamID]
		switch {
		case f.Type == http2.FrameHeaders && q == nil:
			q = &HTTP2Request{ID: f.StreamID, Fields: f.Fields, Method: f.Fields[":method"], Target: f.Fields[":path"]}
			c.begun[q.ID] = q
		case f.Type == http2.FrameHeaders:
			q.Trailers = f.Fields
		case f.Type == http2.FrameData && q != nil:
			if q.Body += string(f.Payload); f.Length > 0 {
				c.Send(http2.AppendWindowUpdate(http2.AppendWindowUpdate(nil, 0, uint32(f.Length)), q.ID, uint32(f.Length)))
			}
		case f.Type == http2.FrameRSTStream:
			delete(c.begun, f.StreamID)
			continue
		default:
			c.answer(f)
			continue
		}
		if q != nil && f.EndsStream() {
			delete(c.begun, q.ID)
			return q, true
		}
	}
}

// RespondToAll responds to each request with its path, or its body if it has one, until the
// connection ends.
func (c *HTTP2Conn) RespondToAll() {
	for {
		q, ok := c.NextRequest()
		switch {
		case !ok:
			return
		case q.Body != "":
			c.Respond(q.ID, q.Body)
		default:
			c.Respond(q.ID, q.Target)
		}
	}
}

// WaitForEnd waits until the client has closed the connection, for MaxWait at most.
func (c *HTTP2Conn) WaitForEnd() {
	c.SetReadDeadline(time.Now().Add(MaxWait))
	c.Drain()
}

// HTTP2Block encodes fields, names and values in turn.
func HTTP2Block(fields ...string) (block []byte) {
	for i := 0; i+1 < len(fields); i += 2 {
		block = http2.AppendField(block, []byte(fields[i]), []byte(fields[i+1]))
	}
	return block
}

// HTTP2RawFrame returns a frame of any type with any payload.
func HTTP2RawFrame(t http2.FrameType, flags http2.Flags, id uint32, payload string) []byte {
	return append(http2.AppendFrameHeader(nil, len(payload), t, flags, id), payload...)
}
