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
	MaxHead       = 16 << 10         // bytes of an answer's head
	BufferSize    = MaxHead + 16<<10 // bytes: the head, which stays while its body passes behind it
	maxInterim    = 100              // answers such as 103 Early Hints, or a 102 each second, before the one that counts
	maxEmptyLines = 2                // before an answer; a server that sends nothing else would never be late
	continueWait  = time.Second      // for 100 Continue; many servers do not know it, so then we send (RFC 9110 §10.1.1)
)

// A Link is one connection to a server, seen from the client. One caller at a
// time has it; this is the script:
//
//	the caller  roundTrip sends a call and returns when the answer's head is there
//	the caller  next returns the body piece by piece, straight out of the link's buffer
//	the caller  close gives the link back, or closes it if it can be of no use
//
// An exchange makes a link unusable when it begins. Only one thing makes it
// usable again: an answer that was read to an end which it announced itself,
// with nothing behind it, to a call whose body the server can be trusted to have
// read.
//
// The link owns its descriptor; whoever has the link may close it, once.
type Link struct {
	socket.Parked
	addr string

	In       []byte // what came: in[:base] is the head that the caller looks at, in[r:w] is not used yet
	Base     int
	R, W     int
	empty    int           // lines of nothing since the last head (skipEmptyLines)
	wire     []byte        // the call, as it is sent
	out      []byte        // of wire: not sent yet
	sent     int           // bytes of the call that the kernel took
	Uses     int           // exchanges that were begun
	Fields   []http1.Field // room for those of the next answer
	readErr  error         // of turn
	writeErr error
	blocked  bool    // the kernel takes no more of out now
	once     bool    // the call had an unexpected body: the server may take it for the next call
	upload   *upload // nil when the body went with the head
	turnFn   func(uintptr) bool
	armed    time.Time   // the read deadline that the poller has
	halted   atomic.Bool // writing: nothing more is sent, see halt

	Owner owner         // nil: its caller
	Found error         // by whoever had it: why it is of no use any more, as far as an owner tells such reasons apart; nil: none of them
	Keep  time.Duration // how long the server said it keeps the connection; 0: did not say
}

// An owner lends a link, and gets it back once: to be kept if it is good, and closed
// if not.
type owner interface{ GiveBack(good bool) }

// Release gives l back to its owner. One that has none is closed if it is of no
// use, and else stays with its caller.
func (l *Link) Release(good bool) {
	if l.Owner != nil {
		l.Owner.GiveBack(good)
	} else if !good {
		l.Close()
	}
}

// DialLink connects to addr.
func DialLink(ctx context.Context, addr string, timeout time.Duration) (*Link, error) {
	p, err := Connect(ctx, addr, timeout)
	if err != nil {
		return nil, err
	}
	unix.SetsockoptInt(p.Fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // a call does not wait for an ACK
	return NewLink(p, addr), nil
}

// NewLink makes a link of a connected socket, which it owns from now on.
func NewLink(p socket.Parked, addr string) *Link {
	l := &Link{Parked: p, addr: addr, In: make([]byte, BufferSize)}
	l.turnFn = l.turn // once: a method value is an allocation
	return l
}

// Check looks whether an idle link is still good, and does not wait: half a
// microsecond. What it reads it need not keep, for whatever comes while nobody
// has asked is an end, or poison: the next caller would take it for his answer.
// Only empty lines are forgiven (RFC 9112 §9.2 and §2.2); half a one costs the
// connection, but no trust.
//
// It cannot see the future. The server may close in the moment after.
func (l *Link) Check() error {
	for {
		if !l.Quiet() {
			return unasked(l.In[l.R:l.W])
		}
		l.Base, l.R, l.W = 0, 0, copy(l.In, l.In[l.R:l.W])
		n, err := socket.ReadNow(uintptr(l.Fd), l.In[l.W:])
		switch {
		case err == unix.EAGAIN && l.R < l.W:
			return errHalfLine
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
// forgives it to clients. It may come at once, or when the next call has left: it
// is skipped wherever an answer could begin.
func (l *Link) SkipEmptyLines() {
	for l.empty < maxEmptyLines && l.W-l.R >= 2 && l.In[l.R] == '\r' && l.In[l.R+1] == '\n' {
		l.R += 2
		l.empty++
	}
}

// Quiet says whether nothing has come that means anything: no byte, or empty
// lines, the last of them perhaps not whole.
func (l *Link) Quiet() bool {
	l.SkipEmptyLines()
	return l.R == l.W || l.W-l.R == 1 && l.In[l.R] == '\r' && l.empty < maxEmptyLines
}

var errHalfLine = errors.New("half an empty line has come")

// unasked is what bytes mean that come while nobody has asked. Some servers say
// 408 when they close an idle connection: that is an end like others.
func unasked(b []byte) error {
	if bytes.HasPrefix(b, []byte("HTTP/1.1 408")) {
		return ErrEnded
	}
	return ErrUnsolicited
}

// ErrNotBegun is for a caller who had no use for the link any more.
var ErrNotBegun = errors.New("nothing was sent")

// Interrupt wakes whoever waits for the link.
func (l *Link) Interrupt() { l.SetDeadline(socket.LongAgo) }

// RoundTrip sends c and returns the answer when its head is there; the caller
// closes it. With an error he still has the link, which is good for nothing
// but retry and release; unless it is ErrNotBegun: then the link is as it was.
// until bounds it all; zero is for ever.
func (l *Link) RoundTrip(ctx context.Context, c *Call, t *Timeouts, until time.Time) (*Answer, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s %s: %w: %w", c.Method, l.addr, ErrNotBegun, context.Cause(ctx))
	}
	l.Begin()
	l.wire = c.AppendTo(l.wire[:0])
	l.out = l.wire
	r := &Answer{Heading: http1.Heading{Fields: l.Fields}, L: l, Ctx: ctx, until: until, Idle: t.Idle, Interim: c.Interim, used: c.Bound}
	l.once = c.UnexpectedBody()
	switch {
	case c.Stream == nil:
	case c.Expects:
		r.held, r.hold = c, t.Cont
	default:
		r.beginUpload(c)
	}
	if err := r.ReadHead(c.Method, t.Head); err != nil {
		r.Detach()
		return nil, fmt.Errorf("%s %s: %w", c.Method, l.addr, err)
	}
	return r, nil
}

// Begin is the beginning of an exchange: nothing of those before is left.
func (l *Link) Begin() {
	l.Uses++
	l.Base, l.R, l.W = 0, 0, 0
	l.out, l.sent, l.blocked = nil, 0, false
	l.readErr, l.writeErr, l.upload = nil, nil, nil
}

// turn is called by the poller. First it sends the call and says that it wants
// to wait; when it is called again there is something to read. So an exchange
// parks once, and no read is wasted on an answer that cannot be there yet. An
// answer that comes at once is not missed: RawConn.Read forgets what it knew of
// the socket before it calls turn, not after.
func (l *Link) turn(fd uintptr) bool {
	if len(l.out) > 0 && l.writeErr == nil {
		l.send(fd)
		if l.writeErr == nil {
			return l.blocked
		}
	} // after a failed write too: the server may have answered before it closed
	n, err := socket.ReadNow(fd, l.In[l.W:])
	for err == unix.EINTR {
		n, err = socket.ReadNow(fd, l.In[l.W:])
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

// send writes what the kernel takes of out.
func (l *Link) send(fd uintptr) {
	for len(l.out) > 0 {
		n, err := socket.WriteNow(fd, l.out)
		if l.blocked = err == unix.EAGAIN; l.blocked {
			return
		} else if err != nil && err != unix.EINTR {
			l.writeErr = err
			return
		}
		l.out = l.out[max(n, 0):]
		l.sent += max(n, 0)
	}
}

// sendRest waits until the kernel has taken all of out.
func (l *Link) sendRest(until time.Time) {
	n, err := l.Write(l.out, until)
	l.out, l.sent, l.writeErr, l.blocked = l.out[n:], l.sent+n, err, false
}

// Write waits until the kernel has taken all of b, or until. It owns the link's
// write deadline, which is set for one write and lifted after it: one that
// outlives its write fails a later one, and that is another request's.
func (l *Link) Write(b []byte, until time.Time) (n int, err error) {
	l.SetWriteDeadline(until)
	if err = errHalted; !l.halted.Load() { // halt looks in the other order
		n, err = l.File.Write(b)
	}
	l.SetWriteDeadline(time.Time{})
	return n, err
}

// halt ends the write in progress, and lets no other begin until goOn.
func (l *Link) halt() {
	l.halted.Store(true)
	l.SetWriteDeadline(socket.LongAgo)
}

// goOn undoes halt when the writer has returned.
func (l *Link) goOn() {
	l.halted.Store(false)
	l.SetWriteDeadline(time.Time{})
}

var errHalted = errors.New("the rest is not sent any more")

// arm makes the poller wake us at until, or earlier: then we look at the clock
// and wait again. So a deadline is set once in a while and not for every call.
func (l *Link) arm(until, now time.Time) {
	if until.IsZero() && l.armed.IsZero() || l.armed.After(now) && (until.IsZero() || !l.armed.After(until)) {
		return
	}
	l.armed = until
	l.SetReadDeadline(until)
}

// room makes room behind what is left of the answer.
func (l *Link) room() {
	if l.R == l.W {
		l.R, l.W = l.Base, l.Base
	} else if l.W == len(l.In) {
		l.W = l.Base + copy(l.In[l.Base:], l.In[l.R:l.W])
		l.R = l.Base
	}
}

// An Answer is the answer to a call: its head, and its body as it comes. The
// fields are good until close.
type Answer struct {
	http1.Heading
	http1.Framing
	L       *Link // nil once closed
	Ctx     context.Context
	unwatch func() bool // nil while ctx is not watched
	until   time.Time
	since   time.Time // when the wait for the head began; what comes of it does not renew it
	Idle    time.Duration
	Interim func(*http1.Heading) error // as in call
	held    *Call                      // its body waits for 100 Continue, for as long as hold
	hold    time.Duration
	piece   []byte // what Read has not copied yet
	used    bool   // the call has bound the link (bound.go): it is of no use for others
}

// ReadHead waits for the answer's head.
func (r *Answer) ReadHead(method []byte, patience time.Duration) error {
	l, looked, interim := r.L, 0, 0
	for {
		l.SkipEmptyLines()
		b := l.In[l.R:l.W]
		n := http1.FindHead(b, looked)
		if n > 0 && n <= MaxHead { // what comes in one packet may have no more than what comes in two
			if err := r.Parse(b[:n], method); err != nil {
				return err
			}
			l.empty = 0
			if l.R += n; r.Status >= 200 {
				break
			} else if interim++; interim > maxInterim {
				return http1.BadAnswer("one interim answer after the other")
			} else if err := r.between(); err != nil {
				return err
			}
			l.W = copy(l.In, l.In[l.R:l.W]) // behind the head that counts there must be room for its body
			l.R, looked = 0, 0
			continue
		}
		if err := doubtful(b); err != nil && !l.Quiet() {
			return err
		}
		looked = len(b)
		if err := r.awaitHead(patience); err != nil {
			return r.ended(err, ErrEnded)
		}
	}
	l.Base = l.R
	r.begin()
	return nil
}

// awaitHead waits for more of the head. While a body is held it does not wait
// for long: then the body goes without having been asked for.
func (r *Answer) awaitHead(patience time.Duration) error {
	if r.held == nil {
		return r.fill(patience, ErrHeadTimeout)
	}
	wait := r.hold
	if patience > 0 {
		wait = min(wait, patience)
	}
	err := r.fill(wait, ErrHeadTimeout)
	if err == ErrHeadTimeout {
		r.since = time.Time{} // the server could not know that it was waited for
		r.beginUpload(r.held)
		return nil
	}
	return err
}

// between is for an answer that is not the last: 100 Continue lets the body go
// that waits for it, and the others are told to who wants to know.
func (r *Answer) between() error {
	switch {
	case r.Status == 100 && r.held != nil:
		r.beginUpload(r.held)
	case r.Interim != nil:
		began := time.Now()
		err := r.Interim(&r.Heading) // it may wait for others, which is not the server's fault
		if !r.since.IsZero() {
			r.since = r.since.Add(time.Since(began))
		}
		return err
	}
	return nil
}

// doubtful refuses a head that is not there to its end but already wrong.
func doubtful(b []byte) error {
	const begins = "HTTP/1."
	if n := min(len(b), len(begins)); string(b[:n]) != begins[:n] {
		return http1.BadAnswer("it does not begin with HTTP/1.")
	}
	if refused := http1.CheckPartial(b, MaxHead); refused != nil {
		return http1.BadAnswer(refused.Reason)
	}
	return nil
}

// begin prepares for the body.
func (r *Answer) begin() {
	const most, maxTrail = 1<<63 - 1, 8 << 10 // any length; bytes of trailers
	length := r.Length
	if length == http1.UntilClose {
		length = most
	}
	r.Framing, _ = http1.NewFraming(length, most, maxTrail)
}

// Next returns the next piece of the body, and io.EOF behind the last. The
// piece is good until the next call of next or close.
func (r *Answer) Next() (piece []byte, err error) {
	for {
		if piece, err = r.Taken(); piece != nil || err != nil {
			return piece, err
		} else if err = r.More(); err != nil {
			return nil, err
		}
	}
}

// Taken is next without waiting: no piece and no error mean that more has to come.
func (r *Answer) Taken() (piece []byte, err error) {
	if r.L == nil {
		return nil, errors.New("the answer is closed")
	}
	for used := 1; used > 0; {
		if r.State == http1.BodyEnd {
			return nil, io.EOF
		}
		var refused *http1.Refusal
		piece, used, refused = r.Take(r.L.In[r.L.R:r.L.W], BufferSize)
		r.L.R += used
		if refused != nil {
			return nil, http1.BadAnswer(refused.Reason)
		} else if len(piece) > 0 {
			return piece, nil
		}
	}
	return nil, nil
}

// More waits until more of the body has come.
func (r *Answer) More() error {
	err := r.fill(r.Idle, ErrBodyTimeout)
	if err == io.EOF && r.Length == http1.UntilClose {
		return io.EOF
	} else if err != nil {
		return r.ended(err, ErrTruncated)
	}
	return nil
}

// Read is next for those who want a copy.
func (r *Answer) Read(p []byte) (n int, err error) {
	if len(r.piece) == 0 {
		if r.piece, err = r.Next(); err != nil {
			return 0, err
		}
	}
	n = copy(p, r.piece)
	r.piece = r.piece[n:]
	return n, nil
}

// fill waits until more has come, for as long as patience and the total allow.
// A context is watched only when the wait is worth it: for most it is not.
func (r *Answer) fill(patience time.Duration, late error) error {
	l, began := r.L, time.Now()
	from := began
	if late == ErrHeadTimeout {
		if r.since.IsZero() {
			r.since = began
		}
		from = r.since
	}
	until, late := r.limit(from, patience, late)
	l.room()
	for now := began; ; now = time.Now() {
		wake := until
		if r.unwatch == nil && (until.IsZero() || until.Sub(began) > socket.Tick) {
			wake = began.Add(socket.Tick)
		}
		l.arm(wake, now)
		if r.unwatch != nil { // a long wait, and its interrupt may have come before arm
			if err := r.interrupted(); err != nil {
				return err
			}
		}
		err := l.Raw.Read(l.turnFn)
		switch {
		case err == nil && l.blocked:
			l.sendRest(until)
		case err == nil:
			return l.came()
		case !socket.TimedOut(err):
			return err
		case r.interrupted() != nil:
			return r.interrupted()
		case r.unwatch == nil && time.Since(began) >= socket.Tick:
			r.unwatch = context.AfterFunc(r.Ctx, l.Interrupt)
		case until.IsZero() || time.Now().Before(until): // an earlier deadline, of another call
		case late == ErrTotalTimeout:
			return late
		default: // the server may be waiting for the rest of the call, or have got it just now
			r.since = l.upload.lastAtWork()
			again, why := r.limit(r.since, patience, late)
			if !time.Now().Before(again) {
				return late
			}
			until, late = again, why
		}
	}
}

// interrupted is why nobody needs to wait any more, if so.
func (r *Answer) interrupted() error {
	if err := r.L.upload.failed(); err != nil {
		return err
	}
	return context.Cause(r.Ctx)
}

// limit is when a wait that begins now has to end, and what to say then.
func (r *Answer) limit(now time.Time, patience time.Duration, late error) (time.Time, error) {
	if until := now.Add(patience); patience > 0 && (r.until.IsZero() || until.Before(r.until)) {
		return until, late
	}
	return r.until, ErrTotalTimeout
}

// came is what the last turn brought: nil when there are bytes.
func (l *Link) came() error {
	if l.readErr != nil && l.writeErr != nil {
		return fmt.Errorf("%w; before that, sending failed: %w", l.readErr, l.writeErr)
	}
	return l.readErr
}

// ended puts as in front of an error that means the end of the connection.
// Others stay what they are: they are ours, such as a timeout.
func (r *Answer) ended(err, as error) error {
	var errno unix.Errno
	if err == io.EOF || errors.As(err, &errno) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", as, err)
	}
	return err
}

// Close ends the exchange, wherever it is. It must be called, once; later calls
// do nothing. The link goes back if it can be used again. A rest of the body
// that has come already is thrown away first; waiting for more of it would cost
// more than a new connection.
func (r *Answer) Close() {
	l := r.L
	if l == nil {
		return
	}
	clean := r.Detach()
	good := clean && l.writeErr == nil && !r.used && !l.once && r.Stays() && r.drained()
	r.L, l.Fields = nil, r.Fields
	l.Release(good)
}

// Detach stops what goes on beside the exchange, and returns false when that
// leaves the link unusable: an interrupt may still be on its way to it, or the
// server has not got all of the body.
func (r *Answer) Detach() (clean bool) {
	clean = r.unwatch == nil || r.unwatch()
	return r.L.upload.end() && r.held == nil && clean
}

// drained reads what is left of the body, if it is here.
func (r *Answer) drained() bool {
	const most = 64 << 10 // bytes
	for total := 0; r.State != http1.BodyEnd; {
		_, used, refused := r.Take(r.L.In[r.L.R:r.L.W], BufferSize)
		r.L.R += used
		total += used
		if refused != nil || total > most {
			return false
		} else if used > 0 {
			continue
		}
		r.L.room()
		if n, _ := socket.ReadNow(uintptr(r.L.Fd), r.L.In[r.L.W:]); n <= 0 {
			return false
		} else {
			r.L.W += n
		}
	}
	return true
}
