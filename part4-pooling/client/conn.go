package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/socket"
)

const (
	MaxHead             = 16 << 10         // bytes of a response's head
	BufferSize          = MaxHead + 16<<10 // bytes: the head, which stays while its body passes behind it
	maxInterimResponses = 100              // answers such as 103 Early Hints, or a 102 each second, before the one that counts
	maxEmptyLines       = 2                // before a response; a server that sends nothing else would never be late
	continueWait        = time.Second      // for 100 Continue; many servers do not know it, so then we send (RFC 9110 §10.1.1)
)

// A Conn is one connection to a server, seen from the client. One caller at a
// time has it; this is the script:
//
//	the caller  roundTrip sends a request and returns when the response's head is there
//	the caller  next returns the body piece by piece, straight out of the connection's buffer
//	the caller  close gives the connection back, or closes it if it can be of no use
//
// An exchange makes a connection unusable when it begins. Only one thing makes it
// usable again: a response that was read to an end which it announced itself,
// with nothing behind it, to a request whose body the server can be trusted to have
// read.
//
// The connection owns its descriptor; whoever has the connection may close it, once.
type Conn struct {
	socket.FD
	addr string

	Buf          []byte // what came: in[:base] is the head that the caller looks at, in[r:w] is not used yet
	HeadEnd      int
	R, W         int
	emptyLines   int           // lines of nothing since the last head (skipEmptyLines)
	encoded      []byte        // the request, as it is sent
	unsent       []byte        // of wire: not sent yet
	bytesSent    int           // bytes of the request that the kernel took
	Requests     int           // exchanges that were begun
	Fields       []http1.Field // room for those of the next response
	readErr      error         // of turn
	writeErr     error
	writeBlocked bool    // the kernel takes no more of out now
	noReuse      bool    // the request had an unexpected body: the server may take it for the next request
	upload       *upload // nil when the body went with the head
	onReadyFn    func(uintptr) bool
	readDeadline time.Time   // the read deadline that the poller has
	writesHalted atomic.Bool // writing: nothing more is sent, see haltWrites

	Owner            owner         // nil: its caller
	Fault            error         // by whoever had it: why it is of no use any more, as far as an owner tells such reasons apart; nil: none of them
	KeepAliveTimeout time.Duration // how long the server said it keeps the connection; 0: did not say
}

// An owner lends a connection, and gets it back once: to be kept if it is good, and closed
// if not.
type owner interface{ Return(good bool) }

// Release gives l back to its owner. One that has none is closed if it is of no
// use, and else stays with its caller.
func (l *Conn) Release(good bool) {
	if l.Owner != nil {
		l.Owner.Return(good)
	} else if !good {
		l.Close()
	}
}

// DialIP connects to addr.
func DialIP(ctx context.Context, addr string, timeout time.Duration) (*Conn, error) {
	p, err := Connect(ctx, addr, timeout)
	if err != nil {
		return nil, err
	}
	unix.SetsockoptInt(p.Sysfd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // a request does not wait for an ACK
	socket.LimitUnsent(p.Sysfd)                                        // a server that reads slowly is not taken for one that does not read
	return NewConn(p, addr), nil
}

// NewConn makes a connection of a connected socket, which it owns from now on.
func NewConn(p socket.FD, addr string) *Conn {
	l := &Conn{FD: p, addr: addr, Buf: make([]byte, BufferSize)}
	l.onReadyFn = l.onReady // once: a method value is an allocation
	return l
}

// CheckIdle looks whether an idle connection is still good, and does not wait: half a
// microsecond. What it reads it need not keep, for whatever comes while nobody
// has asked is an end, or poison: the next caller would take it for its response.
// Only empty lines are forgiven (RFC 9112 §9.2 and §2.2); half a one costs the
// connection, but no trust.
//
// It cannot see the future. The server may close in the moment after.
func (l *Conn) CheckIdle() error {
	for {
		if !l.IsQuiet() {
			return unsolicitedError(l.Buf[l.R:l.W])
		}
		l.HeadEnd, l.R, l.W = 0, 0, copy(l.Buf, l.Buf[l.R:l.W])
		n, err := socket.ReadNow(uintptr(l.Sysfd), l.Buf[l.W:])
		switch {
		case err == unix.EAGAIN && l.R < l.W:
			return errPartialLine
		case err == unix.EAGAIN:
			return nil
		case n > 0:
			l.W += n
		case err != unix.EINTR:
			return ErrEnded
		}
	}
}

// SkipEmptyLines skips what some servers send behind a body, as RFC 9112 §2.2
// forgives it to clients. It may come at once, or when the next request has left: it
// is skipped wherever a response could begin.
func (l *Conn) SkipEmptyLines() {
	for l.emptyLines < maxEmptyLines && l.W-l.R >= 2 && l.Buf[l.R] == '\r' && l.Buf[l.R+1] == '\n' {
		l.R += 2
		l.emptyLines++
	}
}

// IsQuiet says whether nothing has come that means anything: no byte, or empty
// lines, the last of them perhaps not whole.
func (l *Conn) IsQuiet() bool {
	l.SkipEmptyLines()
	return l.R == l.W || l.W-l.R == 1 && l.Buf[l.R] == '\r' && l.emptyLines < maxEmptyLines
}

var errPartialLine = errors.New("half an empty line has come")

// unsolicitedError is what bytes mean that come while nobody has asked. Some servers say
// 408 when they close an idle connection: that is an end like others.
func unsolicitedError(b []byte) error {
	if bytes.HasPrefix(b, []byte("HTTP/1.1 408")) {
		return ErrEnded
	}
	return ErrUnsolicited
}

// ErrNotSent is for a caller who had no use for the connection any more.
var ErrNotSent = errors.New("nothing was sent")

// Interrupt wakes whoever waits for the connection.
func (l *Conn) Interrupt() { l.SetDeadline(socket.LongAgo) }

// RoundTrip sends c and returns the response when its head is there; the caller
// closes it. With an error he still has the connection, which is good for nothing
// but retry and release; unless it is ErrNotSent: then the connection is as it was.
// until bounds it all; zero is for ever.
func (l *Conn) RoundTrip(ctx context.Context, c *Request, t *Timeouts, until time.Time) (*Response, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s %s: %w: %w", c.Method, l.addr, ErrNotSent, context.Cause(ctx))
	}
	l.BeginExchange()
	l.encoded = c.AppendTo(l.encoded[:0])
	l.unsent = l.encoded
	r := &Response{ResponseHead: http1.ResponseHead{Fields: l.Fields}, Conn: l, Ctx: ctx, deadline: until, IdleTimeout: t.Idle, OnInterim: c.OnInterim, connAuthSent: c.ConnAuth}
	l.noReuse = c.HasUnexpectedBody()
	switch {
	case c.Stream == nil:
	case c.ExpectContinue:
		r.heldRequest, r.continueTimeout = c, t.ContinueWait
	default:
		r.startUpload(c)
	}
	if err := r.ReadHead(c.Method, t.Head); err != nil {
		r.Detach()
		return nil, fmt.Errorf("%s %s: %w", c.Method, l.addr, err)
	}
	return r, nil
}

// BeginExchange is the beginning of an exchange: nothing of those before is left.
func (l *Conn) BeginExchange() {
	l.Requests++
	l.HeadEnd, l.R, l.W = 0, 0, 0
	l.unsent, l.bytesSent, l.writeBlocked = nil, 0, false
	l.readErr, l.writeErr, l.upload = nil, nil, nil
}

// onReady is called by the poller. First it sends the request and says that it wants
// to wait; when it is called again there is something to read. So an exchange
// parks once, and no read is wasted on a response that cannot be there yet. A
// response that comes at once is not missed: RawConn.Read forgets what it knew of
// the socket before it calls turn, not after.
func (l *Conn) onReady(fd uintptr) bool {
	if len(l.unsent) > 0 && l.writeErr == nil {
		l.writeReady(fd)
		if l.writeErr == nil {
			return l.writeBlocked
		}
	} // after a failed write too: the server may have answered before it closed
	n, err := socket.ReadNow(fd, l.Buf[l.W:])
	for err == unix.EINTR {
		n, err = socket.ReadNow(fd, l.Buf[l.W:])
	}
	if err == unix.EAGAIN {
		return false
	}
	l.W += max(n, 0)
	if l.readErr = err; err == nil && n == 0 {
		l.readErr = io.EOF
	}
	return true
}

// writeReady writes what the kernel takes of out.
func (l *Conn) writeReady(fd uintptr) {
	for len(l.unsent) > 0 {
		n, err := socket.WriteNow(fd, l.unsent)
		if l.writeBlocked = err == unix.EAGAIN; l.writeBlocked {
			return
		} else if err != nil && err != unix.EINTR {
			l.writeErr = err
			return
		}
		l.unsent = l.unsent[max(n, 0):]
		l.bytesSent += max(n, 0)
	}
}

// writeRest waits until the kernel has taken all of out.
func (l *Conn) writeRest(until time.Time) {
	n, err := l.Write(l.unsent, until)
	l.unsent, l.bytesSent, l.writeErr, l.writeBlocked = l.unsent[n:], l.bytesSent+n, err, false
}

// Write waits until the kernel has taken all of b, or until. It owns the connection's
// write deadline, which is set for one write and lifted after it: one that
// outlives its write fails a later one, and that is another request's.
func (l *Conn) Write(b []byte, until time.Time) (n int, err error) {
	l.SetWriteDeadline(until)
	if err = errWritesHalted; !l.writesHalted.Load() { // halt looks in the other order
		n, err = l.File.Write(b)
	}
	l.SetWriteDeadline(time.Time{})
	return n, err
}

// haltWrites ends the write in progress, and lets no other begin until resumeWrites.
func (l *Conn) haltWrites() {
	l.writesHalted.Store(true)
	l.SetWriteDeadline(socket.LongAgo)
}

// resumeWrites undoes halt when the writer has returned.
func (l *Conn) resumeWrites() {
	l.writesHalted.Store(false)
	l.SetWriteDeadline(time.Time{})
}

var errWritesHalted = errors.New("the rest is not sent any more")

// armReadDeadline makes the poller wake us at until, or earlier: then we look at the clock
// and wait again. So a deadline is set once in a while and not for every request.
func (l *Conn) armReadDeadline(until, now time.Time) {
	if until.IsZero() && l.readDeadline.IsZero() || l.readDeadline.After(now) && (until.IsZero() || !l.readDeadline.After(until)) {
		return
	}
	l.readDeadline = until
	l.SetReadDeadline(until)
}

// makeRoom makes room behind what is left of the response.
func (l *Conn) makeRoom() {
	if l.R == l.W {
		l.R, l.W = l.HeadEnd, l.HeadEnd
	} else if l.W == len(l.Buf) {
		l.W = l.HeadEnd + copy(l.Buf[l.HeadEnd:], l.Buf[l.R:l.W])
		l.R = l.HeadEnd
	}
}

// A Response is the response to a request: its head, and its body as it comes. The
// fields are good until close.
type Response struct {
	http1.ResponseHead
	http1.BodyDecoder
	Conn            *Conn // nil once closed
	Ctx             context.Context
	stopWatching    func() bool // nil while ctx is not watched
	deadline        time.Time
	waitingSince    time.Time // when the wait for the head began; what comes of it does not renew it
	IdleTimeout     time.Duration
	OnInterim       func(*http1.ResponseHead) error // as in call
	heldRequest     *Request                        // its body waits for 100 Continue, for as long as hold
	continueTimeout time.Duration
	unread          []byte // what Read has not copied yet
	connAuthSent    bool   // the request has bound the connection (connauth.go): it is of no use for others
}

// ReadHead waits for the response's head.
func (r *Response) ReadHead(method []byte, patience time.Duration) error {
	l, looked, interim := r.Conn, 0, 0
	for {
		l.SkipEmptyLines()
		b := l.Buf[l.R:l.W]
		n := http1.HeadLength(b, looked)
		if n > 0 && n <= MaxHead { // what comes in one packet may have no more than what comes in two
			if err := r.Parse(b[:n], method); err != nil {
				return err
			}
			l.emptyLines = 0
			if l.R += n; r.Status >= 200 {
				break
			} else if interim++; interim > maxInterimResponses {
				return http1.BadResponse("one interim answer after the other")
			} else if err := r.handleInterim(); err != nil {
				return err
			}
			l.W = copy(l.Buf, l.Buf[l.R:l.W]) // behind the head that counts there must be room for its body
			l.R, looked = 0, 0
			continue
		}
		if err := checkPartialHead(b, looked); err != nil && !l.IsQuiet() {
			return err
		}
		looked = len(b)
		if err := r.waitForHead(patience); err != nil {
			return r.wrapEOF(err, ErrEnded)
		}
	}
	l.HeadEnd = l.R
	r.beginBody()
	return nil
}

// waitForHead waits for more of the head. While a body is held it does not wait
// for long: then the body goes without having been asked for.
func (r *Response) waitForHead(patience time.Duration) error {
	if r.heldRequest == nil {
		return r.waitRead(patience, ErrHeadTimeout)
	}
	wait := r.continueTimeout
	if patience > 0 {
		wait = min(wait, patience)
	}
	err := r.waitRead(wait, ErrHeadTimeout)
	if err == ErrHeadTimeout {
		r.waitingSince = time.Time{} // the server could not know that it was waited for
		r.startUpload(r.heldRequest)
		return nil
	}
	return err
}

// handleInterim is for a response that is not the last: 100 Continue lets the body go
// that waits for it, and the others are told to who wants to know.
func (r *Response) handleInterim() error {
	switch {
	case r.Status == 100 && r.heldRequest != nil:
		r.startUpload(r.heldRequest)
	case r.OnInterim != nil:
		began := time.Now()
		err := r.OnInterim(&r.ResponseHead) // it may wait for others, which is not the server's fault
		if !r.waitingSince.IsZero() {
			r.waitingSince = r.waitingSince.Add(time.Since(began))
		}
		return err
	}
	return nil
}

// checkPartialHead refuses a head that is not there to its end but already wrong.
func checkPartialHead(b []byte, from int) error {
	const begins = "HTTP/1."
	if n := min(len(b), len(begins)); string(b[:n]) != begins[:n] {
		return http1.BadResponse("it does not begin with HTTP/1.")
	}
	if refused := http1.CheckPartialHead(b, from, MaxHead); refused != nil {
		return http1.BadResponse(refused.Detail)
	}
	return nil
}

// beginBody prepares for the body.
func (r *Response) beginBody() {
	const most, maxTrail = 1<<63 - 1, 8 << 10 // any length; bytes of trailers
	length := r.Length
	if length == http1.UntilClose {
		length = most
	}
	r.BodyDecoder, _ = http1.NewBodyDecoder(length, most, maxTrail)
}

// Next returns the next piece of the body, and io.EOF behind the last. The
// piece is good until the next request of next or close.
func (r *Response) Next() (piece []byte, err error) {
	for {
		if piece, err = r.TryNext(); piece != nil || err != nil {
			return piece, err
		} else if err = r.WaitMore(); err != nil {
			return nil, err
		}
	}
}

// TryNext is next without waiting: no piece and no error mean that more has to come.
func (r *Response) TryNext() (piece []byte, err error) {
	if r.Conn == nil {
		return nil, errors.New("the answer is closed")
	}
	for used := 1; used > 0; {
		if r.State == http1.BodyEnd {
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

// WaitMore waits until more of the body has come.
func (r *Response) WaitMore() error {
	err := r.waitRead(r.IdleTimeout, ErrBodyTimeout)
	if err == io.EOF && r.Length == http1.UntilClose {
		return io.EOF
	} else if err != nil {
		return r.wrapEOF(err, ErrTruncated)
	}
	return nil
}

// Read is next for those who want a copy.
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

// waitRead waits until more has come, for as long as patience and the total allow.
// A context is watched only when the wait is worth it: for most it is not.
func (r *Response) waitRead(patience time.Duration, late error) error {
	l, began := r.Conn, time.Now()
	from := began
	if late == ErrHeadTimeout {
		if r.waitingSince.IsZero() {
			r.waitingSince = began
		}
		from = r.waitingSince
	}
	until, late := r.deadlineFor(from, patience, late)
	l.makeRoom()
	for now := began; ; now = time.Now() {
		wake := until
		if r.stopWatching == nil && (until.IsZero() || until.Sub(began) > socket.PollInterval) {
			wake = began.Add(socket.PollInterval)
		}
		l.armReadDeadline(wake, now)
		if r.stopWatching != nil { // a long wait, and its interrupt may have come before arm
			if err := r.interruptErr(); err != nil {
				return err
			}
		}
		err := l.RawConn.Read(l.onReadyFn)
		switch {
		case err == nil && l.writeBlocked:
			l.writeRest(until)
		case err == nil:
			return l.readResult()
		case !socket.IsTimeout(err):
			return err
		case r.interruptErr() != nil:
			return r.interruptErr()
		case r.stopWatching == nil && time.Since(began) >= socket.PollInterval:
			r.stopWatching = context.AfterFunc(r.Ctx, l.Interrupt)
		case until.IsZero() || time.Now().Before(until): // an earlier deadline, of another request
		case late == ErrTotalTimeout:
			return late
		default: // the server may be waiting for the rest of the request, or have got it just now
			r.waitingSince = l.upload.lastActive()
			again, why := r.deadlineFor(r.waitingSince, patience, late)
			if !time.Now().Before(again) {
				return late
			}
			until, late = again, why
		}
	}
}

// interruptErr is why nobody needs to wait any more, if so.
func (r *Response) interruptErr() error {
	if err := r.Conn.upload.failure(); err != nil {
		return err
	}
	return context.Cause(r.Ctx)
}

// deadlineFor is when a wait that begins now has to end, and what to say then.
func (r *Response) deadlineFor(now time.Time, patience time.Duration, late error) (time.Time, error) {
	if until := now.Add(patience); patience > 0 && (r.deadline.IsZero() || until.Before(r.deadline)) {
		return until, late
	}
	return r.deadline, ErrTotalTimeout
}

// readResult is what the last turn brought: nil when there are bytes.
func (l *Conn) readResult() error {
	if l.readErr != nil && l.writeErr != nil {
		return fmt.Errorf("%w; before that, sending failed: %w", l.readErr, l.writeErr)
	}
	return l.readErr
}

// wrapEOF puts as in front of an error that means the end of the connection.
// Others stay what they are: they are ours, such as a timeout.
func (r *Response) wrapEOF(err, as error) error {
	var errno unix.Errno
	if err == io.EOF || errors.As(err, &errno) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", as, err)
	}
	return err
}

// Close ends the exchange, wherever it is. It must be called, once; later requests
// do nothing. The connection goes back if it can be used again. A rest of the body
// that has come already is thrown away first; waiting for more of it would cost
// more than a new connection.
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

// Detach stops what goes on beside the exchange, and returns false when that
// leaves the connection unusable: an interrupt may still be on its way to it, or the
// server has not got all of the body.
func (r *Response) Detach() (clean bool) {
	clean = r.stopWatching == nil || r.stopWatching()
	return r.Conn.upload.stop() && r.heldRequest == nil && clean
}

// drainBuffered reads what is left of the body, if it is here.
func (r *Response) drainBuffered() bool {
	const most = 64 << 10 // bytes
	for total := 0; r.State != http1.BodyEnd; {
		_, used, refused := r.Decode(r.Conn.Buf[r.Conn.R:r.Conn.W], BufferSize)
		r.Conn.R += used
		total += used
		if refused != nil || total > most {
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
