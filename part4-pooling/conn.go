package main

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A conn is one connection. Whoever has the token reads from it, takes requests
// from what came and calls their handlers (token.go); answers leave in the
// order of the requests (slot.go), many in one write. The last holder of the
// token ends the connection and closes its descriptor.
type conn struct {
	parked
	srv        *server
	in         input  // the token's holder's
	readErr    error  // of tryRead
	unsent     []byte // the writer's
	writeErr   error  // of tryWrite
	tryReadFn  func(uintptr) bool
	tryWriteFn func(uintptr) bool
	followFn   func()
	readUntil  atomic.Int64 // when check wakes the reader; it looks for itself then
	writeUntil atomic.Int64 // the same for the writer

	mu      sync.Mutex // guards what follows; never held while something waits
	changed sync.Cond  // something of it is not as before
	line    line
	token   token
	number  uint64    // of the last request
	running int       // handlers that have not returned
	spare   *exchange // to be used next; nil for none
	out     *buffer   // answers in order, not written yet; nil for none
	writing bool      // somebody writes; whoever finds out filled then leaves it to him
	dead    error     // nothing can be written any more, and why
	ended   bool
	peer    netip.Addr // the client, once the gateway has asked
	engines registry   // has a lock of its own, which is taken after this one

	answered int64 // the clock when the line became empty
}

var (
	errHandlerSlow = errors.New("a handler did not finish its answer in time")
	errWriteSlow   = errors.New("the client did not take its answers in time")
	errGone        = &refusal{503, "the connection ended before it was this request's turn"}
	errBrokenOff   = errors.New("a handler failed in the middle of its answer")
)

func newConn(srv *server, p parked) *conn {
	c := &conn{parked: p, srv: srv}
	c.changed.L = &c.mu
	c.tryReadFn, c.tryWriteFn, c.followFn = c.tryRead, c.tryWrite, c.follow // once: a method value is an allocation
	return c
}

// lead serves the connection for as long as it has the token. It has c.mu all
// the while, but not while it waits, writes, or calls a handler.
func (c *conn) lead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		x := c.receive()
		if x == nil || !c.reserve(x) {
			break
		}
		if x.holds { // nobody else would, while its handler takes its time
			c.flush()
		}
		if x.barrier && !c.await(x) {
			x.refused = errGone
		}
		c.mu.Unlock()
		x.answer()
		c.mu.Lock()
		last := !x.suspended && x.last // finish may give x to somebody else
		if !c.finish(x) {
			c.leave()
			return
		}
		if last {
			break
		}
	}
	c.in.skip(len(c.in.bytes())) // nothing behind the last request is looked at
	c.in.giveBack()
	c.end(c.readErr == nil)
}

// follow is the goroutine that stands by while a handler runs. It ends when
// the token is not to be had, or lead ends; nobody waits for it.
func (c *conn) follow() {
	c.mu.Lock()
	mine := c.token.take()
	c.mu.Unlock()
	if mine {
		c.lead()
	}
}

// leave is what is left to do for who lost the token: to write what he
// finished. With c.mu held.
func (c *conn) leave() {
	c.mu.Unlock()
	runtime.Gosched() // others may have woken at the same time: one write for all
	c.mu.Lock()
	c.flush()
}

// receive waits for the next request. It returns nil when there is none: the
// client has closed, is silent for too long, or gone. With c.mu held.
func (c *conn) receive() *exchange {
	n, err := c.head()
	refused, _ := err.(*refusal)
	if err != nil && refused == nil {
		return nil
	}
	x := newExchange(c)
	x.refused = refused
	if refused == nil {
		x.head = append(x.head[:0], c.in.bytes()[:n]...) // the buffer goes on with the token
		c.in.skip(n)
		x.read()
	}
	x.last = x.last || x.refused != nil || c.srv.stopping.Load() && findHead(c.in.bytes(), 0) == 0
	x.holds = x.last || x.barrier || x.req.minor == 0
	return x
}

// reserve gives x its slot, and offers the token while x is handled. It waits
// while the line is full, and returns false when nobody waits for an answer.
// With c.mu held.
func (c *conn) reserve(x *exchange) bool {
	for c.dead == nil && (c.line.length >= c.srv.limits.pipeline || c.running >= c.srv.limits.pipeline) {
		c.waitFlushed()
	}
	if c.dead != nil {
		return false
	}
	c.number++
	c.running++
	x.number, x.due = c.number, c.srv.clock.now()+int64(c.srv.limits.handlerTime)
	c.line.reserve(&x.slot)
	if !x.holds && c.token.offer(x.number) {
		go c.followFn()
	}
	return true
}

// await waits until x is at the head of the line: all before it is answered.
// It returns false when that is not to be. With c.mu held.
func (c *conn) await(x *exchange) bool {
	for c.dead == nil && !x.expired && c.line.head != &x.slot {
		c.waitFlushed()
	}
	return c.dead == nil && !x.expired
}

// waitFlushed waits for a change, after it wrote what is there to write: who
// waits must not keep others waiting. With c.mu held.
func (c *conn) waitFlushed() {
	if !c.writeOut() {
		c.changed.Wait()
	}
}

// finish puts the answer of x in its slot, and returns whether this goroutine
// has the token still. With c.mu held.
func (c *conn) finish(x *exchange) (mine bool) {
	c.running--
	c.changed.Broadcast() // reserve may wait for that alone
	mine = x.holds && !x.expired || c.token.takeBack(x.number)
	switch {
	case x.suspended:
		x.handlerReturned()
	case !x.expired:
		c.line.finish(&x.slot, x.wire)
		c.advance()
	}
	if c.out != nil && len(c.out.b) >= outSize {
		c.flush()
	}
	return mine
}

// advance moves what is finished at the head of the line into out. When out is
// full the rest stays in line, and a full line stops the reader. With c.mu held.
func (c *conn) advance() {
	for c.out == nil || len(c.out.b) < outSize {
		s := c.line.ready()
		if s == nil {
			break
		}
		if c.dead == nil {
			if c.out == nil {
				c.out = buffers.Get().(*buffer)
			}
			c.out.b = append(c.out.b, s.answer...)
		}
		s.owner.recycle()
	}
	if c.line.length == 0 {
		c.answered = c.srv.clock.now()
	}
	c.changed.Broadcast()
}

// flush writes what is in out. With c.mu held.
func (c *conn) flush() {
	for c.writeOut() {
	}
}

// writeOut writes what is in out, unless there is nothing or somebody writes
// already: he will look again. With c.mu held, but not while it writes.
func (c *conn) writeOut() bool {
	if c.out == nil || c.writing || c.dead != nil {
		return false
	}
	out := c.out
	c.out, c.writing = nil, true
	c.mu.Unlock()
	err := c.write(out.b)
	out.free()
	c.mu.Lock()
	c.writing = false
	if err != nil {
		c.kill(err)
	}
	c.advance()
	return true
}

// write writes all of b, piece by piece: each has its time. One at a time may
// call it: c.writing.
func (c *conn) write(b []byte) error {
	for len(b) > 0 || len(c.unsent) > 0 {
		if len(c.unsent) == 0 {
			c.unsent = b[:min(len(b), outSize)]
			b = b[len(c.unsent):]
		}
		until := c.srv.clock.now() + int64(c.srv.limits.writeTime)
		c.writeUntil.Store(until)
		err := c.raw.Write(c.tryWriteFn)
		if timedOut(err) && c.srv.clock.now() < until {
			c.SetWriteDeadline(time.Time{}) // check was late: it meant an earlier write
		} else if timedOut(err) {
			return errWriteSlow
		} else if err = errors.Join(err, c.writeErr); err != nil {
			return err
		}
	}
	c.writeUntil.Store(0)
	return nil
}

// stream writes b, a part of x's answer, when it is x's turn, and waits until
// the kernel has taken it: a handler is not faster than its client.
func (c *conn) stream(x *exchange, b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.dead == nil && !x.expired && (c.line.head != &x.slot || c.writing || c.out != nil) {
		c.waitFlushed()
	}
	if x.expired {
		return errHandlerSlow
	}
	if c.dead != nil {
		return c.dead
	}
	x.begun, c.writing = true, true
	c.mu.Unlock()
	err := c.write(b)
	c.mu.Lock()
	c.writing = false
	if err != nil {
		c.kill(err)
	}
	x.due = c.srv.clock.now() + int64(c.srv.limits.handlerTime)
	c.changed.Broadcast()
	return err
}

// send100 tells the client to send its body. Its request is at the head of the
// line. With c.mu held.
func (c *conn) send100() {
	if c.out == nil {
		c.out = buffers.Get().(*buffer)
	}
	c.out.b = append(c.out.b, "HTTP/1.1 100 Continue\r\n\r\n"...)
}

// kill ends all writing, at once: the handlers are told, and whoever waits is
// woken. With c.mu held.
func (c *conn) kill(why error) {
	if c.dead != nil {
		return
	}
	c.dead = why
	for s := c.line.head; s != nil; s = s.behind {
		s.owner.cancel()
	}
	c.engines.abandon()
	c.changed.Broadcast()
	c.kick()
}

// end waits until the line is empty and all is written, and closes. Whoever
// calls it has the token, or its holder is lost. With c.mu held.
func (c *conn) end(linger bool) {
	for c.dead == nil && (c.line.length > 0 || c.writing || c.out != nil) {
		c.waitFlushed()
	}
	if c.ended {
		return
	}
	c.ended = true
	linger = linger && c.dead == nil
	c.mu.Unlock()
	if linger {
		c.linger()
	}
	c.Close()
	c.srv.remove(c)
	c.mu.Lock()
}

// linger says that no more will come (FIN), and reads what the client still
// sends until it has closed too. Part 1 told why. It does not touch c.in: a
// handler that does not come back may be at it.
func (c *conn) linger() {
	const most = 64 << 20 // bytes
	unix.Shutdown(c.fd, unix.SHUT_WR)
	c.readUntil.Store(0)
	c.SetReadDeadline(time.Now().Add(c.srv.limits.lingerTime))
	io.CopyN(io.Discard, c.File, most)
}

// What the reader waits for.
type wait int

const (
	waitIdle wait = iota // for the first byte of a request
	waitHead
	waitBody
)

// head waits until c.in begins with a whole request head, and returns its
// length. With c.mu held.
func (c *conn) head() (int, error) {
	looked, since := 0, c.srv.clock.now()
	for {
		c.in.skipEmptyLines()
		b := c.in.bytes()
		if n := findHead(b, looked); n > c.srv.limits.head {
			return 0, hopeless(b[:n], c.srv.limits.head)
		} else if n > 0 {
			return n, nil
		}
		if refused := hopeless(b, c.srv.limits.head); refused != nil {
			return 0, refused
		}
		kind := waitHead
		if len(b) == 0 {
			kind = waitIdle
		} else if looked == 0 {
			since = c.srv.clock.now() // its first byte
		}
		looked = len(b)
		err := c.fill(kind, since)
		switch {
		case err == nil:
		case kind == waitHead && err == io.EOF:
			return 0, errHeadEnded
		case kind == waitHead && timedOut(err):
			return 0, errHeadSlow
		default:
			return 0, err
		}
	}
}

var (
	errHeadEnded = &refusal{400, "the connection ended inside a request"}
	errHeadSlow  = &refusal{408, "the request did not come in time"}
)

// fill waits until more bytes have come, and writes what is finished before it
// waits: half a request that came early must not delay an answer. since is the
// clock when the wait began, of which this may be the continuation. With c.mu
// held, but not while it waits.
func (c *conn) fill(kind wait, since int64) error {
	c.flush()
	c.in.compact()
	if kind == waitIdle && c.spare != nil {
		exchanges.Put(c.spare)
		c.spare = nil
	}
	for {
		if c.ended { // a handler that came too late: linger reads now
			return os.ErrDeadlineExceeded
		}
		c.readUntil.Store(c.waitsUntil(kind, since))
		c.mu.Unlock()
		err := c.raw.Read(c.tryReadFn)
		c.mu.Lock()
		if err == nil {
			if c.readErr != nil && c.readErr != io.EOF { // a reset: nobody will read an answer
				c.kill(c.readErr)
			}
			return c.readErr
		}
		if c.ended { // the deadline is linger's now
			return err
		}
		c.calm() // somebody wants us to look again: the server stops, perhaps
		if !timedOut(err) || c.dead != nil || c.srv.clock.now() >= c.waitsUntil(kind, since) {
			return err
		}
	}
}

// waitsUntil is the clock when a wait is over. A client is not idle before it
// has all its answers. With c.mu held.
func (c *conn) waitsUntil(kind wait, since int64) int64 {
	if kind == waitIdle {
		since = max(since, c.answered)
		if c.line.length > 0 {
			since = c.srv.clock.now()
		}
	}
	return since + int64(c.srv.patience(kind))
}

// nudge makes the reader look again how long it may wait. Who lingers is left
// in peace.
func (c *conn) nudge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.kick()
	}
}

// tryRead is called by the poller when there is something to read, and returns
// whether there was. Only then is a buffer needed: who waits idle has none.
func (c *conn) tryRead(fd uintptr) bool {
	c.in.borrow()
	n, err := readNow(fd, c.in.room())
	for err == unix.EINTR {
		n, err = readNow(fd, c.in.room())
	}
	if err == unix.EAGAIN {
		c.in.giveBack()
		return false
	}
	c.in.w += max(n, 0)
	c.readErr = err
	if err == nil && n == 0 {
		c.readErr = io.EOF
	}
	return true
}

// tryWrite is called by the poller when there is room to write, and returns
// whether all of c.unsent, or an error, is done with.
func (c *conn) tryWrite(fd uintptr) bool {
	for c.writeErr = nil; len(c.unsent) > 0; {
		n, err := writeNow(fd, c.unsent)
		switch {
		case err == unix.EAGAIN:
			return false
		case err != nil && err != unix.EINTR:
			c.writeErr = err
			return true
		}
		c.unsent = c.unsent[max(n, 0):]
	}
	return true
}

func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

var errExited = &refusal{500, "the handler ended its goroutine"}

// exited is finish for a handler that called runtime.Goexit: its goroutine ends,
// and if it has the token the connection ends with it. It returns with c.mu
// held, for the Unlock that lead deferred.
func (c *conn) exited(x *exchange) {
	c.mu.Lock()
	c.running--
	mine := x.holds && !x.expired || c.token.takeBack(x.number)
	switch {
	case x.suspended:
		x.handlerReturned()
	case x.expired:
	case x.begun:
		c.kill(errBrokenOff)
	default:
		c.line.finish(&x.slot, x.plain(errExited, mine))
		c.advance()
	}
	c.changed.Broadcast()
	if c.flush(); mine {
		c.end(true)
	}
}
