package client

import (
	"errors"
	"flag"
	"io"
	"strconv"
	"time"

	"socketup/part4-pooling/http1"
)

// A Request is a request that a client sends. Its fields are sent as they are, so
// none may contain a line end; a parser has checked those that come from a client.
// AppendTo writes Host and the framing fields, and nothing else does. The caller
// owns the slices and must not change them until the response is closed.
type Request struct {
	Method, Target, Host []byte
	Fields               []http1.Field // without Host, Content-Length, Transfer-Encoding and Connection
	FieldLines           []byte        // more fields, in wire format: each with its CRLF
	Body                 []byte        // the whole body, if it is in memory
	Stream               io.Reader     // the body, if it is long; read once, by one goroutine, until Response.Close
	Length               int64         // bytes in Stream, or http1.Chunked
	ExpectContinue       bool          // Stream is held until the server sends 100 Continue (RFC 9110 §10.1.1)
	ConnAuth             bool          // its credentials authenticate the connection, which is then not reused (http1/connauth.go)

	OnInterim func(*Response) error // called with the head of each interim response but an awaited 100; an error ends the exchange; nil: they are dropped
}

// Optional methods of Request.Stream.
type (
	// CancelRead is called when the rest is not needed: a blocked Read must return soon.
	readCanceler interface{ CancelRead() }
	// TrailerFields is called after io.EOF: the trailer section of a chunked body.
	trailerSource interface{ TrailerFields() []http1.Field }
)

// Timeouts bound every wait that a server can cause. 0 is no bound.
type Timeouts struct {
	Connect      time.Duration // for the TCP handshake
	Head         time.Duration // from the end of the request, body included, to the end of the response head; a part of the head does not restart it
	Idle         time.Duration // between two pieces of a body, in either direction
	ContinueWait time.Duration // for 100 Continue; then the body is sent without it
	Total        time.Duration // for the exchange and its retry; time spent waiting for a connection counts, but only pool.Limits.MaxWait ends that wait
}

// DefaultTimeouts are the timeouts of the program's own clients.
var DefaultTimeouts = Timeouts{
	Connect:      3 * time.Second,  // allows two lost SYNs: Linux 6.5 and later retransmit after 1 s and 2 s (part 2)
	Head:         30 * time.Second, // of work; a paused server looks like a slow one
	Idle:         10 * time.Second, // a peer that sends no byte for that long is not slow but gone
	ContinueWait: time.Second,      // many servers never send it (RFC 9110 §10.1.1)
	Total:        60 * time.Second, // about as long as the client ahead of us is likely to wait
}

// AddFlags sets t to DefaultTimeouts and defines a flag on f for each wait of a
// gateway for its backends. Total has no flag and becomes 0: a download may take
// as long as bytes arrive.
func (t *Timeouts) AddFlags(f *flag.FlagSet) {
	*t = DefaultTimeouts
	t.Total = 0
	f.DurationVar(&t.Connect, "backend-connect-time", t.Connect, "how long a connect to a backend may take; then 504")
	f.DurationVar(&t.Head, "backend-head-time", t.Head, "how long a backend may take from the end of the request to the end of its response head; then 504. Long polls need longer")
	f.DurationVar(&t.Idle, "backend-body-time", t.Idle, "longest pause between two pieces of a body, to a backend or from it; then the response is truncated. Quiet event streams need longer")
	f.DurationVar(&t.ContinueWait, "backend-continue-time", t.ContinueWait, "how long to wait for a backend's 100 Continue; then the body is sent without it")
}

// Validate returns an error for timeouts that no gateway can work with.
func (t *Timeouts) Validate() error {
	if min(t.Connect, t.Head, t.Idle, t.ContinueWait) <= 0 {
		return errors.New("-backend-connect-time, -backend-head-time, -backend-body-time and -backend-continue-time: want more than 0")
	}
	return nil
}

// The ways in which an exchange fails; test for them with errors.Is.
var (
	ErrEnded        = errors.New("the connection ended before the response") // closed or reset, ahead of a complete head
	ErrTruncated    = errors.New("the connection ended inside the response body")
	ErrUnsolicited  = errors.New("the server sent unsolicited bytes")             // outside any exchange (RFC 9112 §9.2)
	ErrHeadTimeout  = errors.New("no response in time")                           // Timeouts.Head
	ErrBodyTimeout  = errors.New("the response body stalled")                     // Timeouts.Idle
	ErrTotalTimeout = errors.New("the request took too long in total")            // Timeouts.Total
	ErrUpload       = errors.New("the request body could not be read to its end") // Request.Stream failed, not the server
)

// AppendTo appends the head of the request, and Body, to b and returns the
// extended slice. A Stream is not part of it.
func (c *Request) AppendTo(b []byte) []byte {
	b = append(append(b, c.Method...), ' ')
	b = append(append(b, c.Target...), " HTTP/1.1\r\nHost: "...)
	b = append(append(b, c.Host...), "\r\n"...)
	b = append(AppendFields(b, c.Fields), c.FieldLines...)
	if c.ExpectContinue {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	switch {
	case c.Stream != nil && c.Length == http1.Chunked:
		return append(b, "Transfer-Encoding: chunked\r\n\r\n"...)
	case c.Stream != nil:
		b = appendLength(b, c.Length)
	case len(c.Body) > 0 || MethodExpectsBody(c.Method):
		b = appendLength(b, int64(len(c.Body)))
	}
	return append(append(b, "\r\n"...), c.Body...)
}

// AppendFields appends fields as field lines, each with its CRLF, and returns the
// extended slice.
func AppendFields(b []byte, fields []http1.Field) []byte {
	for _, f := range fields {
		b = append(append(b, f.Name...), ": "...)
		b = append(append(b, f.Value...), "\r\n"...)
	}
	return b
}

func appendLength(b []byte, n int64) []byte {
	b = append(b, "Content-Length: "...)
	return append(strconv.AppendInt(b, n, 10), "\r\n"...)
}

// MethodExpectsBody reports whether a request with method announces an empty body
// too, as Content-Length: 0 (RFC 9110 §8.6).
func MethodExpectsBody(method []byte) bool {
	switch string(method) {
	case "POST", "PUT", "PATCH":
		return true
	}
	return false
}

// HasUnexpectedBody reports whether c has a body to which its method gives no
// meaning: for GET, HEAD and DELETE it "has no generally defined semantics" (RFC
// 9110 §9.3.1, §9.3.2, §9.3.5), OPTIONS has no use for it, CONNECT has none, and
// TRACE must not have one. Some servers leave such a body unread and take it for
// the next request on the connection, which may be another client's. Unknown
// methods count as unexpected too.
func (c *Request) HasUnexpectedBody() bool {
	return (len(c.Body) > 0 || c.Stream != nil) && !MethodExpectsBody(c.Method)
}

// IsIdempotent reports whether sending a request with method twice has the same
// effect as sending it once (RFC 9110 §9.2.2). Only such a request may be sent
// again when the client cannot know whether the server acted on it.
func IsIdempotent(method []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}
