package client

import (
	"errors"
	"flag"
	"io"
	"strconv"
	"time"

	"socketup/part4-pooling/http1"
)

// A Request is a request that a client makes. Its fields are sent as they are:
// none of them may have a line end in it, which holds for whatever a parser has
// let through. Host and the framing are written here and nowhere else.
type Request struct {
	Method, Target, Host []byte
	Fields               []http1.Field // but not Host, Content-Length, Transfer-Encoding, Connection
	FieldLines           []byte        // more fields, as they are sent: each with its CRLF
	Body                 []byte        // all of it
	Stream               io.Reader     // instead of body, when that is long: read only once, by one other goroutine
	Length               int64         // of stream: a number, or chunked
	ExpectContinue       bool          // stream waits until the server wants it: Expect: 100-continue
	ConnAuth             bool          // it authenticates its connection (connauth.go)

	OnInterim func(*http1.ResponseHead) error // is told of responses before the one that counts; nil: they are passed over
}

// What a stream may have beside Read.
type (
	// stop is called when nobody wants the rest: a Read that waits must return soon.
	readCanceler interface{ CancelRead() }
	// trailerSource is asked at the stream's end for the fields to be sent behind it.
	trailerSource interface{ TrailerFields() []http1.Field }
)

// Timeouts are all that a server can make its client wait for. 0 is for ever.
type Timeouts struct {
	Connect      time.Duration // for the handshake
	Head         time.Duration // from the request, or the end of its body, to the end of the response's head: what comes of it does not renew it
	Idle         time.Duration // between two pieces of a body, on the way there or back
	ContinueWait time.Duration // for 100 Continue, before the body is sent all the same
	Total        time.Duration // for everything, waiting for a connection and a second try included
}

var DefaultTimeouts = Timeouts{
	Connect:      3 * time.Second,  // two lost SYNs: sent again after 1 s and 2 s (part 2)
	Head:         30 * time.Second, // of work; a paused server is not to be told from a slow one
	Idle:         10 * time.Second, // a peer that does not send a byte for that long is not slow, it is gone
	ContinueWait: time.Second,      // many servers do not know it (RFC 9110 §10.1.1)
	Total:        60 * time.Second, // what the next client in front of us is likely to wait
}

// AddFlags are the waits that a gateway makes for a backend. A total is not among
// them: a download may take as long as it goes on.
func (t *Timeouts) AddFlags(f *flag.FlagSet) {
	*t = DefaultTimeouts
	t.Total = 0
	f.DurationVar(&t.Connect, "backend-connect-time", t.Connect, "for a connection to a backend to be made; then 504")
	f.DurationVar(&t.Head, "backend-head-time", t.Head, "for the whole head of a backend's response, from the end of the request; then 504. Long polls need longer")
	f.DurationVar(&t.Idle, "backend-body-time", t.Idle, "between two pieces of a body, to a backend or from it; then the response is cut. Quiet event streams need longer")
	f.DurationVar(&t.ContinueWait, "backend-continue-time", t.ContinueWait, "for a backend to say 100 Continue; then the body is sent all the same")
}

// Validate says what no gateway can work with.
func (t *Timeouts) Validate() error {
	if min(t.Connect, t.Head, t.Idle, t.ContinueWait) <= 0 {
		return errors.New("-backend-connect-time, -backend-head-time, -backend-body-time and -backend-continue-time: want more than 0")
	}
	return nil
}

// What an exchange ends in when it does not end well; errors.Is finds them.
var (
	ErrEnded        = errors.New("the connection ended before the answer") // closed, reset, or half a head
	ErrTruncated    = errors.New("the connection ended inside the answer's body")
	ErrUnsolicited  = errors.New("the server sent bytes that nobody asked for")
	ErrHeadTimeout  = errors.New("no answer in time")
	ErrBodyTimeout  = errors.New("the body stopped in the middle")
	ErrTotalTimeout = errors.New("all of it took too long")
	ErrUpload       = errors.New("the request's body could not be read to its end") // our side's fault
)

// AppendTo appends the head of the request, and the body if it is all there.
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

// MethodExpectsBody is for the methods whose empty body is announced too: RFC 9110 §8.6.
func MethodExpectsBody(method []byte) bool {
	switch string(method) {
	case "POST", "PUT", "PATCH":
		return true
	}
	return false
}

// HasUnexpectedBody says whether c has a body though its method gives a body no
// meaning: with GET, HEAD and DELETE it "has no generally defined semantics" (RFC
// 9110 §9.3.1, §9.3.2, §9.3.5), OPTIONS has no use for it, CONNECT has none, and
// TRACE must not have one. Some servers leave such a body unread and take it for
// the next request on the connection, which is another client's. Of a method that
// is not known here it is not known either.
func (c *Request) HasUnexpectedBody() bool {
	return (len(c.Body) > 0 || c.Stream != nil) && !MethodExpectsBody(c.Method)
}

// IsIdempotent says whether doing it twice is as good as doing it once (RFC 9110
// §9.2.2). Only such a request may be sent again when nobody knows what became of it.
func IsIdempotent(method []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}
