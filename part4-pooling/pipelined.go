package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// A pipe is the lane of HTTP/1.1. Nothing in an answer says whose it is: the
// first is for the first job, and so on (RFC 9112 §9.3.2). So a byte that is
// doubtful is the end of it, and no answer behind it is given to anybody.
type pipe struct {
	l     *link
	lease *lease // the pool's of l; nil without
	t     *timeouts
	ctx   context.Context // ends the reader
	depth int             // jobs in line, at most; the writer's
	most  int             // depth, as it was at first

	a      answer // the reader's, of j
	j      *job   // nil between two answers
	paused bool   // lanePause was the last event
	ended  error  // there is nothing more to read, and why

	writing sync.Mutex // held by who writes
	spare   []byte     // his: room for out

	mu       sync.Mutex // guards what follows
	more     sync.Cond  // jobs is not empty any more, or there will be none
	jobs     []*job     // in line, and not answered to the end
	out      []byte     // of them: not given to the kernel yet
	held     int        // how many those are
	taken    int64      // bytes of jobs
	sent     int64      // of them: given to the kernel
	proven   bool       // the server has answered on this connection, and keeps it open
	finished bool
	err      error // no more jobs, and why
}

// openPipe opens a lane of depth jobs on a link from the pool, or says why there is
// none. When ctx is done all jobs are withdrawn and nothing was sent: l goes back.
func openPipe(ctx context.Context, l *lease, err error, t *timeouts, depth int) (lane, error) {
	if err == nil && ctx.Err() != nil {
		l.release(true)
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	return newPipe(ctx, l.link, l, t, depth), nil
}

func newPipe(ctx context.Context, l *link, lease *lease, t *timeouts, depth int) *pipe {
	p := &pipe{l: l, lease: lease, t: t, ctx: ctx, depth: depth, most: depth, proven: l.uses > 0}
	p.more.L = &p.mu
	p.a.l = l
	l.begin()
	return p
}

// room is one job until the server has shown that it keeps a connection: RFC
// 9112 §9.3.2 forbids more behind a connection that failed, and an HTTP/1.0
// server would get what it cannot read.
func (p *pipe) room() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.err != nil:
		return 0
	case !p.proven:
		return 1 - len(p.jobs)
	}
	return p.depth - len(p.jobs)
}

// write sends batch in one go.
func (p *pipe) write(batch []*job) bool {
	if _, err := p.add(batch); err != nil {
		return false
	}
	p.flush()
	return true
}

// add puts batch in line, and returns how many are held there for the next flush.
// When nothing is on its way it looks first whether the connection is still good.
// With an error the jobs are untouched.
func (p *pipe) add(batch []*job) (held int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && len(p.jobs) == 0 {
		p.err = p.look() // nobody reads now, so we can
	}
	if p.err != nil {
		p.more.Signal()
		return 0, p.err
	}
	for _, j := range batch {
		j.move(jobWritten)
		before := len(p.out)
		p.out = j.call.appendTo(p.out)
		j.from, j.toHEAD, j.interim = p.taken, string(j.call.method) == "HEAD", j.call.interim
		p.taken += int64(len(p.out) - before)
	}
	p.jobs = append(p.jobs, batch...)
	p.held += len(batch)
	p.more.Signal()
	return p.held, nil
}

// flush sends what was put in line.
func (p *pipe) flush() {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	wire := p.out
	p.out, p.held = p.spare[:0], 0
	p.mu.Unlock()
	if p.spare = wire; len(wire) == 0 {
		return
	}
	n, err := p.send(wire)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sent += int64(n); err != nil && p.err == nil {
		p.err = err
		unix.Shutdown(p.l.fd, unix.SHUT_WR) // half a request is out: the server answers those before it, and closes
	}
}

// send waits only if the kernel does not take all of b at once.
func (p *pipe) send(b []byte) (int, error) {
	var n int
	err := p.l.raw.Write(func(fd uintptr) bool { n, _ = writeNow(fd, b); return true })
	if n = max(n, 0); err != nil || n == len(b) {
		return n, err
	}
	more, err := p.l.write(b[n:], deadline(p.t.idle))
	return n + more, err
}

// read returns what comes next. Before it waits it says so, once.
func (p *pipe) read() laneEvent {
	switch {
	case p.ended != nil:
		return laneEvent{kind: laneEnd, err: p.ended}
	case p.j != nil:
		return p.readBody()
	}
	l := p.l
	j, err := p.oldest(p.paused)
	if j != nil {
		l.skipEmptyLines()
	}
	switch {
	case err != nil:
		return p.end(err)
	case !p.paused && (j == nil || findHead(l.in[l.r:l.w], 0) == 0): // without a job l is the writer's to look at
		p.paused = true
		return laneEvent{kind: lanePause}
	}
	p.paused = false
	return p.readHead(j)
}

func (p *pipe) readHead(j *job) laneEvent {
	l := p.l
	p.a = answer{heading: heading{fields: l.fields}, l: l, ctx: p.ctx, idle: p.t.idle, interim: j.interim}
	err := p.a.readHead(methodOf[j.toHEAD], p.t.head)
	l.fields = p.a.fields
	switch {
	case err != nil:
		return p.end(err)
	case p.proven && p.a.idleEnd(): // not the answer to j: see crossed
		return p.end(fmt.Errorf("%w: it was idle for too long, says the server", ErrEnded))
	}
	j.move(jobResponding)
	p.j = j
	return laneEvent{kind: laneHead, job: j, answer: &p.a, again: !p.a.stays() && p.unreliable()}
}

// unreliable says whether an answer that ends the connection had better be asked for
// again: others that were sent behind it may cut it, or it is not the answer but
// what met the job on its way (again.go, crossed).
func (p *pipe) unreliable() bool {
	return p.last() && !p.whole() || p.proven && p.a.status == 408
}

// last is for an answer that ends the connection: nothing more is sent (MUST, RFC
// 9112 §9.6). It returns whether something was sent behind its request. A backend
// that closes with that unread resets the connection, and may take the end of the
// answer with it.
func (p *pipe) last() (behind bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = ErrLastAnswer
	}
	return len(p.jobs) > 1
}

// whole says whether all of a body with a known length has come with its head.
func (p *pipe) whole() bool { return p.a.length >= 0 && p.a.length <= int64(p.l.w-p.l.r) }

// methodOf is all of a method that the framing of its answer depends on.
var methodOf = map[bool][]byte{true: []byte("HEAD"), false: []byte("GET")}

func (p *pipe) readBody() laneEvent {
	p.l.base = 0 // nobody looks at the head any more
	for {
		piece, err := p.a.taken()
		if piece == nil && err == nil && !p.paused {
			p.paused = true
			return laneEvent{kind: lanePause, job: p.j}
		} else if piece == nil && err == nil {
			err = p.a.more()
		}
		p.paused = false
		switch {
		case err == io.EOF:
			return p.answered()
		case err != nil:
			return p.end(err)
		case piece != nil:
			return laneEvent{kind: laneData, job: p.j, piece: piece}
		}
	}
}

// look checks the connection when nothing is on its way, and the pool hears at once
// of what is found: the next request may come before the connection is given back.
func (p *pipe) look() error {
	p.l.found = p.l.check()
	if p.lease != nil && p.l.found != nil {
		p.lease.suspect()
	}
	return p.l.found
}

// oldest is the job whose answer comes next. If there is none it waits, or
// returns nil.
func (p *pipe) oldest(wait bool) (*job, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case len(p.jobs) > 0:
			return p.jobs[0], nil
		case p.err != nil:
			return nil, p.err
		case p.finished:
			return nil, errFinished
		case !wait:
			return nil, nil
		}
		p.more.Wait()
	}
}

var (
	errFinished = errors.New("nothing more is asked for")
	errBound    = errors.New("the backend authenticates connections: this one is not shared")
)

// answered ends an answer. What is behind it, when nobody has asked for more,
// is judged as the pool does it, and the pool is told.
func (p *pipe) answered() laneEvent {
	j := p.j
	p.j = nil
	clean := p.a.detach()
	p.l.keep = p.a.keep
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs = append(p.jobs[:0], p.jobs[1:]...)
	p.proven = true
	switch {
	case p.a.bound:
		p.ended = errBound
	case !p.a.stays():
		p.ended = ErrLastAnswer
	case !clean:
		p.ended = context.Cause(p.ctx)
	case len(p.jobs) == 0 && !p.l.quiet():
		p.ended = p.look()
	}
	if p.err == nil {
		p.err = p.ended
	}
	return laneEvent{kind: laneAnswer, job: j}
}

// end is the end of all reading.
func (p *pipe) end(why error) laneEvent {
	p.a.detach()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = why
	if p.err == nil {
		p.err = why
	}
	if why == errUntrusted {
		p.l.found = why
	}
	return laneEvent{kind: laneEnd, err: why}
}

func (p *pipe) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished = true
	p.more.Signal()
}

// fail ends all writing, and returns the jobs in line.
func (p *pipe) fail(why error) []*job {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = why
	}
	p.more.Signal()
	return p.jobs
}

func (p *pipe) unanswered() []*job {
	p.a.detach() // the engine may have ended the reading
	return p.jobs
}

// untouched is so for a job that never left, and behind an answer that says
// close: RFC 9112 §9.6 forbids the server to process it.
func (p *pipe) untouched(j *job) bool {
	return j.from >= p.sent || p.ended == ErrLastAnswer
}

// recalled asks the pool. A backend that is not trusted with a second call on one
// connection gets one, and no more.
func (p *pipe) recalled() bool {
	if p.lease.isWary() {
		p.onlyOne()
		return true
	}
	return p.lease.recalled()
}

// onlyOne ends the lane behind its first job, or behind those it has.
func (p *pipe) onlyOne() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.depth = 1; p.taken > 0 && p.err == nil {
		p.err = errUntrusted
		p.more.Signal()
	}
}

// close gives the connection back, if every answer has come to its end and
// nothing is behind the last.
func (p *pipe) close() {
	p.l.release(p.err == errFinished && len(p.jobs) == 0)
}

// renew gets a fresh link instead of l, to go on with the jobs that are left.
func (p *pipe) renew(ctx context.Context) (lane, error) {
	l, err := p.lease.renew(ctx, len(p.jobs) > 0, p.t)
	return openPipe(ctx, l, err, p.t, p.most)
}
