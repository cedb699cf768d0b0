package server

import (
	"bytes"
	"errors"
	"net/netip"
	"strconv"
	"time"
)

// A Served is what became of one request, for Server.OnServed: an access log and
// measurements of latency are made from it.
type Served struct {
	Client   netip.Addr
	Method   []byte        // valid during the call, like Target; of a request that was refused, whatever stands in its place
	Target   []byte        // as in the request line; empty if that has none
	Status   int           // of the response; 0 if none was begun
	Bytes    int64         // of the response, head and framing included, that were passed on to be written
	Duration time.Duration // from the end of the request's head until then
	Err      error         // why the client did not get the whole response; nil if it was passed on to be written
}

// A sentResponse is what OnServed needs to know of a response, and is counted only for it.
type sentResponse struct {
	began  time.Time // when the end of the request's head was found
	status int
	bytes  int64
}

var errConnClosed = errors.New("the connection was closed before the response was complete")

// beginServed starts the measurement of x, whose slot is reserved next.
func (c *conn) beginServed(x *exchange) {
	if c.srv.OnServed != nil {
		x.sent = sentResponse{began: time.Now()}
		if len(x.head) == 0 { // it is refused without being parsed
			b := c.input.bytes()
			x.head = append(x.head, b[:min(len(b), maxReportedLine)]...)
		}
	}
}

// countSent counts b, a part of the response of x that was passed on to be written.
func (c *conn) countSent(x *exchange, b []byte) {
	if c.srv.OnServed != nil {
		x.sent.count(b)
	}
}

func (s *sentResponse) count(b []byte) {
	const before, length = len("HTTP/1.1 "), len("HTTP/1.1 200")
	if s.bytes == 0 && len(b) >= length {
		s.status, _ = strconv.Atoi(string(b[before:length]))
	}
	s.bytes += int64(len(b))
}

// reportServed reports x, whose slot has left the queue with rest, the bytes of the
// response that were not streamed.
func (c *conn) reportServed(x *exchange, rest []byte) {
	if c.srv.OnServed != nil {
		c.reportNow(x, rest)
	}
}

func (c *conn) reportNow(x *exchange, rest []byte) {
	err := c.err
	if c.closeState == open {
		x.sent.count(rest)
	} else if err == nil {
		err = errConnClosed
	}
	method, target := x.req.Method, x.req.Target
	if x.err != nil { // perhaps before they were parsed
		method, target = splitRequestLine(x.head)
	}
	c.srv.OnServed(Served{c.peer, method, target, x.sent.status, x.sent.bytes, time.Since(x.sent.began), err})
}

const maxReportedLine = 1 << 10 // bytes of a head that was refused; more than a log shows

// splitRequestLine returns what stands in the places of the method and of the target in
// a head that may be incomplete, or no head at all.
func splitRequestLine(head []byte) (method, target []byte) {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	method, rest, _ := bytes.Cut(bytes.TrimRight(line, "\r"), []byte(" "))
	target, _, _ = bytes.Cut(rest, []byte(" "))
	return method, target
}
