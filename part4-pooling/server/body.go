package server

import (
	"io"

	"socketup/part4-pooling/http1"
)

const maxDiscard = 256 << 10 // bytes of an unread body that are discarded to keep the connection; a longer one closes it

var errBodyTimeout = &http1.StatusError{Status: 408, Detail: "the body did not arrive in time"}

// A Request is a request as a handler gets it: the parsed head, and a body that is read
// from the connection on demand. Both are valid until the handler returns; a handler
// that keeps a part of them must copy it.
type Request struct {
	http1.RequestHead
	Body *Body // nil if the request has none
}

// A Body is a request's body. It is read from the connection only as the handler calls
// Read. A request with a body has its connection to itself: no other handler of the
// connection runs, and nothing else reads from the socket.
//
// Decoder undoes the framing (RFC 9112 §6, §7). At the end of the body Decoder.Trailers
// holds the trailer fields.
type Body struct {
	Decoder        http1.BodyDecoder
	x              *exchange
	awaitsContinue bool               // the client waits for 100 Continue
	readCanceled   bool               // CancelRead was called (proxy.go); guarded by the lock
	err            *http1.StatusError // why the body failed; every later Read returns it
	waitingSince   int64              // the server clock when the current time limit began
	receivedSince  int                // bytes of content since waitingSince
}

// Read reads content, without the framing, and returns io.EOF at its end. It waits for
// at most Limits.BodyTime for each 16 KiB. If the client waits for 100 Continue, the
// first Read that needs input sends it (RFC 9110 §10.1.1). An error other than io.EOF is
// an *http1.StatusError; it becomes the response, unless a part of one has been sent.
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

// renewTimeout restarts the time limit after every pace bytes of content, not after
// every byte: a client must not hold a connection with one byte a second. Chunk
// framing does not count: chunks of one byte would earn several times their time.
func (b *Body) renewTimeout(n int) {
	const pace = 16 << 10
	if b.receivedSince += n; b.receivedSince >= pace {
		b.receivedSince, b.waitingSince = 0, b.x.conn.srv.clock.now()
	}
}

// ReadAll reads the rest of the body, with the errors of Read but io.EOF. It returns
// nil for a nil Body. Limits.Body bounds the result.
func (b *Body) ReadAll() ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	return io.ReadAll(b)
}

// discard reads what the handler left of the body, up to maxDiscard bytes, so that the
// next request can be found after it. It returns whether the body has ended; if not,
// the connection must close.
func (b *Body) discard() (ended bool) {
	if b == nil {
		return true
	}
	if b.awaitsContinue || b.err != nil { // a client that was not told to continue may send the body or not
		return b.err == nil && b.Decoder.AtEnd()
	}
	if b.Decoder.BytesRemaining() > maxDiscard {
		return false
	}
	n, err := io.CopyN(io.Discard, b, maxDiscard+1)
	return err == io.EOF && n <= maxDiscard
}
