package server

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"socketup/part3-pipelining/http1"
)

// A Response is a handler's response. A short one is kept until the handler
// returns, and so has a Content-Length; what is longer, or flushed, leaves as
// it comes, in chunks if the handler did not say how long it will be.
type Response struct {
	x            *exchange
	Status       int
	FieldLines   []byte // field lines
	hasLength    bool   // length was declared
	length       int64
	body         []byte // written, not sent
	bytesWritten int64  // bytes, sent or not
	headFlushed  bool   // the head is out, or would be if there was a body
	chunked      bool
}

var errContentLength = errors.New("more was written than the declared length")

// AddField adds a field. A line end in it would begin a field, or a response, of
// the client's making.
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

// SetPlainText says that the body is plain text, in UTF-8.
func (w *Response) SetPlainText() {
	w.FieldLines = append(w.FieldLines, "Content-Type: text/plain; charset=utf-8\r\n"...)
}

// SetLength declares the length of the body.
func (w *Response) SetLength(n int64) { w.length, w.hasLength = n, true }

// Date is what the response's Date field says, to the second.
func (w *Response) Date() time.Time {
	date, _ := time.Parse("Date: "+http1.DateFormat+"\r\n", string(*w.x.conn.srv.clock.date.Load()))
	return date
}

// Log is the server's log, for what a client need not know.
func (w *Response) Log() *slog.Logger { return w.x.conn.srv.Log }

// Error answers with status, and with a line of text that says why.
func (w *Response) Error(status int, why string) {
	w.Status = status
	w.SetPlainText()
	w.WriteString(http1.StatusText(status) + ": " + why + "\n")
}

// failHandler forgets all that was not sent.
func (w *Response) failHandler(status int) {
	*w = Response{x: w.x, FieldLines: w.FieldLines[:0], body: w.body[:0], headFlushed: w.headFlushed}
	w.Error(status, "the handler failed")
}

// Write appends p to the body. It waits only when 32 KiB of the body wait for the
// turn of this response. An error says that the client will not have the rest.
func (w *Response) Write(p []byte) (int, error) { return write(w, p) }

// WriteString is Write for a string.
func (w *Response) WriteString(s string) error { _, err := write(w, s); return err }

// write keeps what is short and sends what is not.
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

// Flush sends what was written so far. It waits until it is this response's turn
// and the client has taken it.
func (w *Response) Flush() error {
	if w.Status == 0 {
		w.Status = 200
	}
	x := w.x
	x.encoded = x.encoded[:0]
	if !w.headFlushed {
		w.headFlushed = true
		w.chunked = !w.hasLength && x.req.Minor == 1
		x.closeAfter = x.closeAfter || !w.hasLength && x.req.Minor == 0                        // its end is the connection's: RFC 9112 §6.3
		x.closeAfter = x.closeAfter || x.req.Body != nil && x.conn.transport.awaitsContinue(x) // RFC 9110 §10.1.1: the client is told that we close
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

// finish appends what has not been sent.
func (w *Response) finish(b []byte) []byte {
	if w.Status == 0 || w.hasLength && w.bytesWritten != w.length && !w.bodiless() {
		if w.x.committed {
			w.x.abort()
			return nil
		}
		w.failHandler(500) // it said nothing, or not as much as it said it would
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

// appendBody appends what was written and not sent, as a chunk if need be.
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

// bodiless is RFC 9112 §6.3: these responses end with their head, whatever its
// fields say.
func (w *Response) bodiless() bool {
	return w.Status == 204 || w.Status == 304 || string(w.x.req.Method) == "HEAD"
}

func (w *Response) appendHead(b []byte) []byte {
	b = http1.AppendStatusLine(b, w.Status)
	b = append(b, *w.x.conn.srv.clock.date.Load()...)
	b = append(b, w.FieldLines...)
	switch {
	case w.Status == 204 || w.Status == 304: // RFC 9110 §8.6: none in 204
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

// Done is closed when no response is wanted any more: the client has reset the
// connection, or the time is up.
func (w *Response) Done() <-chan struct{} { return w.x.conn.transport.doneChan(w.x) }
