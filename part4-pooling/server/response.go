package server

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"socketup/part4-pooling/http1"
)

// A Response is the response that a handler writes. Set Status and the fields first; the
// first Write sets Status to 200 if it is 0. A body of up to 32 KiB is buffered until the handler
// returns, and is sent with a Content-Length. A longer one, or one that is flushed, is
// streamed: in chunks (RFC 9112 §7.1), unless SetLength declared its length.
//
// A Response belongs to its handler until the handler returns, and is then reused for
// another request. Its methods are not for concurrent use.
type Response struct {
	x            *exchange
	Status       int    // RFC 9110 §15; 0 until it is set
	FieldLines   []byte // encoded fields, each line with its CRLF; AddField appends to it
	hasLength    bool   // SetLength was called
	length       int64
	body         []byte // written, not encoded yet; at most maxBuffered
	bytesWritten int64  // bytes of body written so far, sent or not
	headFlushed  bool   // Flush has encoded the head, or finish will, if there is no body
	chunked      bool
}

var errContentLength = errors.New("the handler wrote more than the declared length")

// AddField adds a field line. It has no effect once the head has been sent. It panics if
// name or value contains CR or LF, which would let a client inject fields or a whole
// response (RFC 9110 §5.5).
func (w *Response) AddField(name, value string) {
	if hasLineEnd(name) || hasLineEnd(value) {
		panic(fmt.Sprintf("field %q: %q", name, value))
	}
	w.FieldLines = append(w.FieldLines, name...)
	w.FieldLines = append(w.FieldLines, ": "...)
	w.FieldLines = append(w.FieldLines, value...)
	w.FieldLines = append(w.FieldLines, "\r\n"...)
}

func hasLineEnd(s string) bool {
	return strings.IndexByte(s, '\n') >= 0 || strings.IndexByte(s, '\r') >= 0
}

// SetPlainText adds Content-Type: text/plain; charset=utf-8.
func (w *Response) SetPlainText() {
	w.FieldLines = append(w.FieldLines, "Content-Type: text/plain; charset=utf-8\r\n"...)
}

// SetLength declares the length of the body in bytes. Call it before the first Write. A
// Write past n fails; a handler that writes less fails with 500, or with a reset if a
// part of its response has been sent.
func (w *Response) SetLength(n int64) { w.length, w.hasLength = n, true }

// Date returns the time in the Date field that a head encoded now would have, to the
// second.
func (w *Response) Date() time.Time {
	date, _ := time.Parse("Date: "+http1.DateFormat+"\r\n", string(*w.x.conn.srv.clock.date.Load()))
	return date
}

// Log returns the server's log, for what the client should not see.
func (w *Response) Log() *slog.Logger { return w.x.conn.srv.Log }

// Error sets Status and writes a line of plain text: the reason phrase of status, and
// why. Use it instead of a body, not after one.
func (w *Response) Error(status int, why string) {
	w.Status = status
	w.SetPlainText()
	w.WriteString(http1.StatusText(status) + ": " + why + "\n")
}

// failHandler replaces everything that was not sent with an error response.
func (w *Response) failHandler(status int) {
	*w = Response{x: w.x, FieldLines: w.FieldLines[:0], body: w.body[:0], headFlushed: w.headFlushed}
	w.Error(status, "the handler failed")
}

// Write appends p to the body and keeps no reference to it. It blocks only when 32 KiB are
// buffered: then it flushes first. An error means that the client will not receive
// the rest: the connection failed, the handler's time is up, or p exceeds the declared
// length. If the response has no body (HEAD, 204, 304), Write discards p.
func (w *Response) Write(p []byte) (int, error) { return write(w, p) }

// WriteString is Write for a string, without a conversion. It returns only the error.
func (w *Response) WriteString(s string) error { _, err := write(w, s); return err }

// write buffers p, and flushes whenever the buffer is full.
func write[bytes []byte | string](w *Response, p bytes) (n int, err error) {
	if w.Status == 0 {
		w.Status = 200
	}
	if w.bytesWritten += int64(len(p)); w.hasLength && w.bytesWritten > w.length {
		return 0, errContentLength
	}
	if w.bodiless() {
		return len(p), nil
	}
	for n < len(p) {
		if len(w.body) == maxBuffered {
			if err := w.Flush(); err != nil {
				return n, err
			}
		}
		some := min(len(p)-n, maxBuffered-len(w.body))
		w.body = append(w.body, p[n:n+some]...)
		n += some
	}
	return n, nil
}

// Flush sends the head and what has been written so far. It blocks until the responses
// before this one are complete and the kernel has accepted the bytes; neither wait counts
// toward Limits.HandlerTime. An error means that the client will not receive the rest.
func (w *Response) Flush() error {
	if w.Status == 0 {
		w.Status = 200
	}
	x := w.x
	x.encoded = x.encoded[:0]
	if !w.headFlushed {
		w.headFlushed = true
		w.chunked = !w.hasLength && x.req.Minor == 1
		x.closeAfter = x.closeAfter || !w.hasLength && x.req.Minor == 0                        // close-delimited: RFC 9112 §6.3
		x.closeAfter = x.closeAfter || x.req.Body != nil && x.conn.transport.awaitsContinue(x) // RFC 9110 §10.1.1: the body may still come, or not
		if w.bodiless() {
			return nil // finish renders the head
		}
		x.encoded = w.appendHead(x.encoded)
	}
	x.encoded = w.appendBody(x.encoded)
	if len(x.encoded) == 0 {
		return nil
	}
	return x.conn.transport.stream(x, x.encoded)
}

// finish appends to b what has not been sent, after the handler has returned.
func (w *Response) finish(b []byte) []byte {
	if w.Status == 0 || w.hasLength && w.bytesWritten != w.length && !w.bodiless() {
		if w.x.committed {
			w.x.abort()
			return nil
		}
		w.failHandler(500) // it wrote nothing, or less than it declared
	}
	if !w.x.committed {
		if !w.hasLength && !w.headFlushed {
			w.SetLength(w.bytesWritten)
		}
		b = w.appendHead(b)
	}
	if w.bodiless() {
		return b
	}
	b = w.appendBody(b)
	if w.chunked {
		b = append(b, "0\r\n\r\n"...)
	}
	return b
}

// appendBody moves the buffered body to b, as a chunk if w is chunked.
func (w *Response) appendBody(b []byte) []byte {
	if len(w.body) == 0 {
		return b
	}
	if w.chunked {
		b = strconv.AppendInt(b, int64(len(w.body)), 16)
		b = append(b, "\r\n"...)
	}
	b = append(b, w.body...)
	if w.chunked {
		b = append(b, "\r\n"...)
	}
	w.body = w.body[:0]
	return b
}

// bodiless reports whether w ends with its head, whatever its fields say (RFC 9112 §6.3).
func (w *Response) bodiless() bool {
	return w.Status == 204 || w.Status == 304 || string(w.x.req.Method) == "HEAD"
}

func (w *Response) appendHead(b []byte) []byte {
	b = http1.AppendStatusLine(b, w.Status)
	b = append(b, *w.x.conn.srv.clock.date.Load()...)
	b = append(b, w.FieldLines...)
	switch {
	case w.Status == 204 || w.Status == 304: // RFC 9110 §8.6: no Content-Length in 204
	case w.chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case w.hasLength:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, w.length, 10)
		b = append(b, "\r\n"...)
	}
	switch {
	case w.x.closeAfter:
		b = append(b, "Connection: close\r\n"...)
	case w.x.req.Minor == 0:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	return append(b, "\r\n"...)
}

// Done returns a channel that is closed when the response is no longer wanted: the
// connection has failed, or Limits.HandlerTime has passed. Call it before the handler
// returns. The first call allocates.
func (w *Response) Done() <-chan struct{} { return w.x.conn.transport.doneChan(w.x) }
