package main

import (
	"bytes"
	"errors"
	"net/netip"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// A conn is one connection. Its loop reads from it and calls the handlers; an
// unsafe request has it for itself for a while (alone.go). Answers leave in the
// order of the requests (slot.go), many in one write. This is the way of a byte:
//
//	hear    there are news: what came is read into in
//	take    a request is taken off it and has a slot in line
//	finish  its handler is done: the slot has its answer
//	advance what is finished at the head of the line goes into out
//	flush   out is written, as far as the kernel takes it
//	settle  all is answered and nothing more will come: the connection is closed
//
// Nothing of it ever waits, but for what alone.go has.
type conn struct {
	loop *loop
	srv  *server
	fd   int         // the loop closes it, after close; who uses it has the lock, or writing
	mu   *sync.Mutex // the loop's; it guards all of this
	peer netip.Addr  // the client, as accept(2) told; never changed. Later fd may be somebody else's

	in     input
	looked int  // bytes of in that hold no whole head
	empty  int  // empty lines that came ahead of the next request
	unread bool // there may be more to read than was read
	ends   bool // the client has closed its side: there is an end to be read
	eof    bool // the client has closed its side, and all it sent is in in

	line    line
	running int       // handlers that have not returned
	changed sync.Cond // something is not as before: alone.go waits for that
	stalled bool      // there is no room in the line: nothing is taken off in
	queued  bool      // it waits for a turn (loop.requeue), and is read then
	away    bool      // the loop has given the connection, and in with it, to alone
	lost    bool      // who has it may never come back
	last    bool      // nothing that comes is looked at any more
	bare    bool      // an answer that ends with the connection has begun: until it is whole, a close is a reset (cut.go)

	out        *buffer // answers in order; nil for none
	sending    *buffer // of them, those that are being written; nil for none
	unsent     []byte  // of sending
	writing    bool    // somebody writes; whoever finds out filled then leaves it to him
	blocked    bool    // the kernel has no room: there will be news
	writeUntil int64   // the clock when all of sending must be written; 0: nothing is
	answered   int64   // the clock when the line became empty
	since      int64   // the clock when a wait began, for a head or for the end of lingering

	lingers int64 // bytes that it may still discard; 0 before the end
	guest   guest // what a taker has for this client; only the leader sets it (relay.go)
	dead    error // nothing can be written any more, and why
	ended   bool  // fd is not ours any more
}

var (
	errReset     = errors.New("the client has reset the connection")
	errBrokenOff = errors.New("a handler failed in the middle of its answer")
	errHeadEnded = &refusal{400, "the connection ended inside a request"}
	errEmpty     = &refusal{400, "empty lines came, and no request"}
)

var toHEAD = []byte("HEAD ")

func newConn(l *loop, fd int) *conn {
	c := &conn{loop: l, srv: l.srv, fd: fd, mu: &l.mu, since: l.srv.clock.now()}
	c.changed.L = c.mu
	return c
}

// hear is for news of the connection: something to read, room to write, or
// that somebody asked for another look. They may be those of an earlier owner of
// the number, whose connection a child process has kept open: so they are hints,
// and only what the kernel says of fd now is a fact.
func (c *conn) hear(n news) {
	c.blocked, c.ends = false, c.ends || n.ended
	switch {
	case c.lingers == 0 && (n.broken && is(c.fd, 0) || c.ends && c.srv.aborts && is(c.fd, pollEnded)):
		c.kill(errReset)
	case c.lingers > 0:
		c.discard()
	case c.away:
		c.changed.Broadcast()
	case c.queued:
	case !c.last: // full or not: take notes that, and nobody else
		if !c.srv.stopping.Load() || findHead(c.in.bytes(), 0) == 0 { // a stop ends behind the last request that has been read
			c.read()
		}
		c.loop.cur = c
		return
	}
	c.flush()
}

// is asks the kernel whether fd has been reset, or is in the states that events
// name. read(2) would say so too, but only behind what has come before, and in may
// be full, or belong to alone.
func is(fd int, events int16) bool {
	ask := []unix.PollFd{{Fd: int32(fd), Events: events}} // POLLERR and POLLHUP are always told: poll(2)
	n, _ := unix.Poll(ask, 0)
	return n > 0 && ask[0].Revents&(events|unix.POLLERR|unix.POLLHUP) != 0
}

// read reads what has come. Only now is a buffer needed: who is idle has none.
func (c *conn) read() {
	c.in.compact()
	c.in.borrow()
	room := c.in.room()
	n, err := readNow(uintptr(c.fd), room)
	for err == unix.EINTR {
		n, err = readNow(uintptr(c.fd), room)
	}
	switch {
	case n > 0:
		c.in.w += n
		c.unread = n == len(room) || c.ends // news are not told twice
	case len(room) == 0:
		c.unread = true
	case err == unix.EAGAIN:
		c.unread, c.ends = false, false
	case err != nil:
		c.kill(err)
	default:
		c.eof = true
	}
}

// take takes the next request off what came, for the loop to handle. nil says
// that there is none: more of it must come, or there is no room in the line, or
// the connection was given away.
func (c *conn) take() *exchange {
	for c.dead == nil && !c.last && !c.away {
		if c.stalled = c.full(); c.stalled {
			return nil
		}
		n, refused := c.head()
		if n == 0 && refused == nil {
			return nil
		}
		x := c.receive(n, refused)
		c.reserve(x)
		if !x.alone {
			return x
		}
		c.away = true
		go c.alone(x) // gives it back
	}
	return nil
}

func (c *conn) full() bool {
	return c.line.length >= c.srv.limits.pipeline || c.running >= c.srv.limits.pipeline
}

// head returns the length of the request head that in begins with, or 0 when
// it is not there to its end. Its time begins with its first byte. An empty line
// is no part of a head: a client that sends only those stays idle, and the third
// is refused.
func (c *conn) head() (int, *refusal) {
	if c.empty += c.in.skipEmptyLines(); c.empty > maxEmpty {
		return 0, errEmpty
	}
	b, most := c.in.bytes(), c.srv.limits.head
	if c.looked == 0 && len(b) > 0 {
		c.since = c.srv.clock.now()
	}
	n := findHead(b, c.looked)
	switch {
	case n > most:
		return 0, hopeless(b[:n], most)
	case n > 0:
		c.looked = 0
		return n, nil
	}
	c.looked = len(b)
	refused := hopeless(b, most)
	if refused == nil && c.eof && len(b) > 0 {
		refused = errHeadEnded
	}
	return 0, refused
}

// receive makes an exchange of the first n bytes, or of why they are refused.
func (c *conn) receive(n int, refused *refusal) *exchange {
	c.since, c.empty = c.srv.clock.now(), 0
	x := newExchange(c)
	if x.refused = refused; refused == nil {
		x.head = append(x.head[:0], c.in.bytes()[:n]...) // the next one is read over it
		c.in.skip(n)
		x.read()
	} else if bytes.HasPrefix(c.in.bytes(), toHEAD) {
		x.req.method = toHEAD[:4] // its answer has no body, however it would have gone on
	}
	x.last = x.last || x.refused != nil || c.srv.stopping.Load() && c.lastRead(x)
	x.alone = x.refused == nil && (x.barrier || x.req.minor == 0)
	c.last = x.last
	return x
}

// lastRead says whether x is the last request that its connection answers in a
// server that stops: no other has been read behind it. Its own body may look as if
// there was one, so a request with a body that begins after the last call is the
// last, whatever is behind it.
func (c *conn) lastRead(x *exchange) bool {
	stopped := c.srv.stopped.Load()
	return findHead(c.in.bytes(), 0) == 0 || x.req.length != 0 && stopped != 0 && c.since >= stopped+int64(lastCall)
}

// reserve gives x its slot, before its handler is started.
func (c *conn) reserve(x *exchange) {
	c.running++
	c.loop.number++
	x.number = c.loop.number
	x.allot()
	c.line.reserve(&x.slot)
}

// pause is for when there is nothing more to take. Half a request that came
// early must not delay an answer that is finished.
func (c *conn) pause() {
	if !c.away {
		c.last = c.last || c.eof && !c.stalled
		if c.last {
			c.in.skip(len(c.in.bytes())) // nothing behind the last request is looked at
		}
		c.in.giveBack()
	}
	c.flush()
	if c.unread && !c.stalled && !c.away && !c.last {
		c.again()
	}
}

// again asks for the news of c once more, for there may be some that were not
// looked at.
func (c *conn) again() {
	if !c.ended {
		c.loop.poller.again(c.fd)
	}
}

// resume lets the loop go on with c where it had stopped. What is in in already
// is no news to the kernel.
func (c *conn) resume() {
	if !c.ended {
		c.since = c.srv.clock.now() // nobody has looked until now
		c.loop.requeue(c)
	}
}

// takesMore says whether there is something to take, and room for it.
func (c *conn) takesMore() bool {
	return !c.in.empty() && !c.last && c.dead == nil && !c.full()
}

// yield ends a turn though there is more to take: the answers so far leave, and
// other connections have their turns before the next.
func (c *conn) yield() {
	c.flush()
	if !c.ended {
		c.loop.requeue(c)
	}
}

// finish puts the answer of x in its slot.
func (c *conn) finish(x *exchange) {
	c.running--
	if !x.expired {
		c.line.finish(&x.slot, x.wire)
	}
	c.advance()
	if c.out != nil && len(c.out.b) >= outSize {
		c.flush()
	}
}

// leave is for who finished an answer and has nothing more to do here.
func (c *conn) leave() {
	c.mu.Unlock()
	runtime.Gosched() // others may have woken at the same time: one write for all
	c.mu.Lock()
	c.flush()
}

// advance moves what is finished at the head of the line into out. When out is
// full the rest stays in line, and a full line stops the reader.
func (c *conn) advance() {
	for c.out == nil || len(c.out.b) < outSize {
		s := c.line.ready()
		if s == nil {
			break
		}
		if c.dead == nil {
			c.append(s.answer)
		}
		s.owner.recycle()
	}
	if c.line.length == 0 {
		c.answered = c.srv.clock.now()
	}
	if c.stalled && !c.full() {
		c.stalled = false
		c.resume()
	}
	c.changed.Broadcast()
}

func (c *conn) append(b []byte) {
	if c.out == nil {
		c.out = buffers.Get().(*buffer)
	}
	c.out.b = append(c.out.b, b...)
}

// flush writes what is in out, as far as the kernel takes it, and then ends the
// connection if that was all. One writes at a time: whoever comes meanwhile
// leaves his bytes to him. The lock is open during the write.
func (c *conn) flush() {
	for !c.writing && !c.blocked && c.dead == nil && c.load() {
		c.writing, c.blocked = true, true // hear may come before wrote, and know better
		c.mu.Unlock()
		n, err := writeNow(uintptr(c.fd), c.unsent)
		c.mu.Lock()
		c.writing = false
		c.wrote(n, err)
	}
	c.settle()
}

// load says whether there is something to write.
func (c *conn) load() bool {
	if c.sending == nil && c.out != nil {
		c.sending, c.out = c.out, nil
		c.unsent = c.sending.b
		c.writeUntil = c.srv.clock.now() + int64(c.srv.limits.writeTime)
	}
	return c.sending != nil
}

// wrote is what comes after a write.
func (c *conn) wrote(n int, err error) {
	c.unsent = c.unsent[max(n, 0):]
	c.blocked = c.blocked && err == unix.EAGAIN
	switch {
	case err != nil && err != unix.EAGAIN && err != unix.EINTR:
		c.kill(err)
	case len(c.unsent) == 0:
		c.sending.free()
		c.sending, c.unsent, c.writeUntil = nil, nil, 0
		c.advance()
	}
}

// written says whether all answers are out.
func (c *conn) written() bool { return c.line.length == 0 && c.out == nil && c.sending == nil }

// settle ends the connection when it is over. If the client may still send, it
// is told first (FIN), and given the time to close too: part 1 told why.
func (c *conn) settle() {
	switch {
	case c.ended || c.writing:
	case c.dead != nil:
		c.close()
	case !c.last || c.away && !c.lost || !c.written() || c.lingers > 0:
	case c.eof:
		c.bareEnds()
		c.close()
	default:
		c.bareEnds()
		const most = 64 << 20 // bytes
		c.lingers, c.since = most, c.srv.clock.now()
		unix.Shutdown(c.fd, unix.SHUT_WR)
		c.discard()
	}
}

// discard reads what a client sends that has been told that we are done. It
// does not touch in: a handler that does not come back may be at it.
func (c *conn) discard() {
	scratch := inputs.Get().(*[inSize]byte)
	n, err := readNow(uintptr(c.fd), scratch[:])
	inputs.Put(scratch)
	c.lingers -= int64(max(n, 0))
	switch {
	case err == unix.EAGAIN: // not yet
	case n > 0 && c.lingers > 0, err == unix.EINTR:
		c.again()
	default: // the end, a reset, or too much
		c.close()
	}
}

// kill ends all writing, at once: the handlers are told, and whoever waits is
// woken. settle closes.
func (c *conn) kill(why error) {
	if c.dead != nil {
		return
	}
	c.dead = why
	for s := c.line.head; s != nil; s = s.behind {
		s.owner.cancel()
	}
	if c.guest != nil {
		c.guest.abandon()
	}
	c.changed.Broadcast()
}

func (c *conn) close() {
	c.ended = true
	if !c.away {
		c.in.skip(len(c.in.bytes()))
		c.in.giveBack()
	}
	c.loop.bury(c.fd)
}

// exited is finish for a handler that called runtime.Goexit: its goroutine ends,
// and somebody else must do what it did. It returns with the lock held, for the
// Unlock that the goroutine has deferred.
func (c *conn) exited(x *exchange) {
	c.mu.Lock()
	mine := !x.alone && c.loop.token.takeBack(x.number)
	switch {
	case x.expired:
	case x.begun:
		c.kill(errBrokenOff)
	default:
		x.wire = x.plain(errExited, x.last || x.alone)
	}
	if x.alone && !x.expired {
		c.away, c.last = false, true
	}
	c.finish(x)
	c.flush()
	if mine {
		go c.loop.lead()
	}
}

var errExited = &refusal{500, "the handler ended its goroutine"}
