package client

import (
	"context"
	"errors"
	"io"
	"time"

	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/socket"
)

// A Response is the response to a request: its head, and its body as it arrives.
// Fields and the pieces of the body are parts of the connection's buffer: Fields
// are valid until Close, a piece until the next call.
type Response struct {
	http1.ResponseHead
	http1.BodyDecoder
	Conn            *Conn                 // nil after Close
	Ctx             context.Context       // ends every wait with its Cause
	stopWatching    func() bool           // nil while Ctx is not watched
	deadline        time.Time             // of the whole exchange; zero: none
	waitingSince    time.Time             // when the wait for the head began; a part of the head does not restart it
	IdleTimeout     time.Duration         // between two pieces of the body
	OnInterim       func(*Response) error // as in Request
	heldRequest     *Request              // its body waits for 100 Continue, at most for continueTimeout
	continueTimeout time.Duration
	unread          []byte // the part of a piece that Read has not copied
	connAuthSent    bool   // the request authenticated the connection (http1/connauth.go), which must not carry another one
}

// Next returns the next piece of the body, and io.EOF after the last. It waits
// when no piece has arrived. The piece is valid until the next call of any method.
// The errors are ErrTruncated, ErrBodyTimeout, ErrTotalTimeout, ErrUpload,
// http1.ErrBadResponse, and context.Cause.
func (r *Response) Next() (piece []byte, err error) {
	for {
		if piece, err = r.TryNext(); piece != nil || err != nil {
			return piece, err
		} else if err = r.WaitMore(); err != nil {
			return nil, err
		}
	}
}

// TryNext is Next without the wait: no piece and no error mean that more has to
// arrive.
func (r *Response) TryNext() (piece []byte, err error) {
	if r.Conn == nil {
		return nil, errors.New("the response is closed")
	}
	for used := 1; used > 0; {
		if r.AtEnd() {
			return nil, io.EOF
		}
		var refused *http1.StatusError
		piece, used, refused = r.Decode(r.Conn.Buf[r.Conn.R:r.Conn.W], BufferSize)
		r.Conn.R += used
		if refused != nil {
			return nil, http1.BadResponse(refused.Detail)
		} else if len(piece) > 0 {
			return piece, nil
		}
	}
	return nil, nil
}

// WaitMore waits until more of the body has arrived. It returns io.EOF where the
// end of the connection is the end of the body (RFC 9112 §6.3 rule 8). Other
// errors are those of Next.
func (r *Response) WaitMore() error {
	err := r.waitRead(r.IdleTimeout, ErrBodyTimeout)
	if err == io.EOF && r.Length == http1.UntilClose {
		return io.EOF
	} else if err != nil {
		return r.wrapEOF(err, ErrTruncated)
	}
	return nil
}

// Read copies the next bytes of the body to p, as io.Reader.
func (r *Response) Read(p []byte) (n int, err error) {
	if len(r.unread) == 0 {
		if r.unread, err = r.Next(); err != nil {
			return 0, err
		}
	}
	n = copy(p, r.unread)
	r.unread = r.unread[n:]
	return n, nil
}

// Close ends the exchange, at any point, and releases the connection: as good if
// it can carry another request. The caller must call it; calling it again does
// nothing. Close drops the rest of the body if that has already arrived; waiting
// for more would cost more than a new connection.
func (r *Response) Close() {
	l := r.Conn
	if l == nil {
		return
	}
	clean := r.Detach()
	good := clean && l.writeErr == nil && !r.connAuthSent && !l.noReuse && r.Persists() && r.drainBuffered()
	r.Conn, l.Fields = nil, r.Fields
	l.Release(good)
}

// Detach stops the context watch and the upload. It returns false if that leaves
// the connection unusable: an interrupt may still be on its way to it, or the
// server has not received all of the request body. The response keeps its
// connection.
func (r *Response) Detach() (clean bool) {
	clean = r.stopWatching == nil || r.stopWatching()
	return r.Conn.upload.stop() && r.heldRequest == nil && clean
}

// drainBuffered reads the rest of the body, if it has arrived, and reports
// whether it reached the end.
func (r *Response) drainBuffered() bool {
	const maxSkip = 64 << 10 // bytes; a new connection is cheaper than copying more
	for total := 0; !r.AtEnd(); {
		_, used, refused := r.Decode(r.Conn.Buf[r.Conn.R:r.Conn.W], BufferSize)
		r.Conn.R += used
		total += used
		if refused != nil || total > maxSkip {
			return false
		} else if used > 0 {
			continue
		}
		r.Conn.makeRoom()
		if n, _ := socket.ReadNow(uintptr(r.Conn.Sysfd), r.Conn.Buf[r.Conn.W:]); n <= 0 {
			return false
		} else {
			r.Conn.W += n
		}
	}
	return true
}
