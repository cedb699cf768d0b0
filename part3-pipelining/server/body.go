package server

import (
	"io"

	"socketup/part3-pipelining/http1"
)

const maxDiscard = 256 << 10 // bytes of a body that its handler left unread, for keeping the connection

var errBodyTimeout = &http1.StatusError{Status: 408, Detail: "the body did not come in time"}

// A Request is what a handler is given: a request's head, and its body, to be read
// from the connection. Both are good until the handler returns.
type Request struct {
	http1.RequestHead
	Body *Body // nil without one
}

// A Body is a request's body, read from its connection as the handler asks for
// it. A request with a body has the connection for itself, and its input too.
type Body struct {
	Decoder        http1.BodyDecoder
	x              *exchange
	awaitsContinue bool               // the client waits for 100 Continue
	err            *http1.StatusError // how the body failed; Read says it from then on
	waitingSince   int64              // the clock when the time limit began to run
	receivedSince  int                // bytes of content since then
}

// Read reads content; at its end the framing has the trailers. It asks the client for the body
// if it waits for 100 Continue. An error other than io.EOF is what the client is told.
func (b *Body) Read(p []byte) (int, error) {
	for b.err == nil && !b.Decoder.AtEnd() {
		if n := b.gather(p); n > 0 || len(p) == 0 {
			b.renewTimeout(n)
			return n, nil
		}
		if b.err == nil && !b.Decoder.AtEnd() {
			b.err = b.x.conn.transport.readMoreBody(b)
		}
	}
	if b.err != nil {
		return 0, b.err
	}
	return 0, io.EOF
}

// gather copies content into p until p is full or nothing more has arrived. A call of
// Read costs its caller far more than a byte: a gateway writes what it returns to a
// backend. If Read returned one chunk at a time, a client that sends chunks of one byte
// would choose how many writes that are. An error is for the next Read.
func (b *Body) gather(p []byte) (n int) {
	in := &b.x.conn.input
	for used := 1; used > 0 && b.err == nil && n < len(p); {
		var piece []byte
		piece, used, b.err = b.Decoder.Decode(in.bytes(), len(p)-n)
		n += copy(p[n:], piece)
		in.skip(used)
	}
	return n
}

// renewTimeout renews the time limit for every pace bytes of content, not for every
// byte: one byte a second is no body. The lines between chunks are no content: a
// body of one byte a chunk would be granted 20 times its time.
func (b *Body) renewTimeout(n int) {
	const pace = 16 << 10
	if b.receivedSince += n; b.receivedSince >= pace {
		b.receivedSince, b.waitingSince = 0, b.x.conn.srv.clock.now()
	}
}

// ReadAll reads the whole body; a request without one has none.
func (b *Body) ReadAll() ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	return io.ReadAll(b)
}

// discard reads what the handler left of a short body, so that the next
// request can be found behind it. Of a long one nobody knows how much is to come.
func (b *Body) discard() (ended bool) {
	if b == nil {
		return true
	}
	if b.awaitsContinue || b.err != nil { // who was not told to continue may send it or not
		return b.err == nil && b.Decoder.AtEnd()
	}
	if b.Decoder.BytesRemaining() > maxDiscard {
		return false
	}
	n, err := io.CopyN(io.Discard, b, maxDiscard+1)
	return err == io.EOF && n <= maxDiscard
}
