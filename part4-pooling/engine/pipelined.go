package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/socket"
)

// A pipe is the lane of HTTP/1.1. Nothing in an answer says whose it is: the
// first is for the first job, and so on (RFC 9112 §9.3.2). So a byte that is
// doubtful is the end of it, and no answer behind it is given to anybody.
type pipe struct {
	l     *client.Link
	lease *pool.Lease // the pool's of l; nil without
	t     *client.Timeouts
	ctx   context.Context // ends the reader
	depth int             // jobs in line, at most; the writer's
	most  int             // depth, as it was at first

	a      client.Answer // the reader's, of j
	j      *Job          // nil between two answers
	paused bool          // lanePause was the last event
	ended  error         // there is nothing more to read, and why

	writing sync.Mutex // held by who writes
	spare   []byte     // his: room for out

	mu       sync.Mutex // guards what follows
	more     sync.Cond  // jobs is not empty any more, or there will be none
	jobs     []*Job     // in line, and not answered to the end
	out      []byte     // of them: not given to the kernel yet
	held     int        // how many those are
	taken    int64      // bytes of jobs
	sent     int64      // of them: given to the kernel
	proven   bool       // the server has answered on this connection, and keeps it open
	finished bool
	err      error // no more jobs, and why
}

// OpenPipe opens a lane of depth jobs on a link from the pool, or says why there is
// none. When ctx is done all jobs are withdrawn and nothing was sent: l goes back.
func OpenPipe(ctx context.Context, l *pool.Lease, err error, t *client.Timeouts, depth int) (Lane, error) {
	if err == nil && ctx.Err() != nil {
		l.Release(true)
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	return newPipe(ctx, l.Link, l, t, depth), nil
}

func newPipe(ctx context.Context, l *client.Link, lease *pool.Lease, t *client.Timeouts, depth int) *pipe {
	p := &pipe{l: l, lease: lease, t: t, ctx: ctx, depth: depth, most: depth, proven: l.Uses > 0}
	p.more.L = &p.mu
	p.a.L = l
	l.Begin()
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
func (p *pipe) write(batch []*Job) bool {
	if _, err := p.add(batch); err != nil {
		return false
	}
	p.flush()
	return true
}

// add puts batch in line, and returns how many are held there for the next flush.
// When nothing is on its way it looks first whether the connection is still good.
// With an error the jobs are untouched.
func (p *pipe) add(batch []*Job) (held int, err error) {
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
		p.out = j.Call.AppendTo(p.out)
		j.from, j.toHEAD, j.interim = p.taken, string(j.Call.Method) == "HEAD", j.Call.Interim
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
		unix.Shutdown(p.l.Fd, unix.SHUT_WR) // half a request is out: the server answers those before it, and closes
	}
}

// send waits only if the kernel does not take all of b at once.
func (p *pipe) send(b []byte) (int, error) {
	var n int
	err := p.l.Raw.Write(func(fd uintptr) bool { n, _ = socket.WriteNow(fd, b); return true })
	if n = max(n, 0); err != nil || n == len(b) {
		return n, err
	}
	more, err := p.l.Write(b[n:], client.Deadline(p.t.Idle))
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
		l.SkipEmptyLines()
	}
	switch {
	case err != nil:
		return p.end(err)
	case !p.paused && (j == nil || http1.FindHead(l.In[l.R:l.W], 0) == 0): // without a job l is the writer's to look at
		p.paused = true
		return laneEvent{kind: lanePause}
	}
	p.paused = false
	return p.readHead(j)
}

func (p *pipe) readHead(j *Job) laneEvent {
	l := p.l
	p.a = client.Answer{Heading: http1.Heading{Fields: l.Fields}, L: l, Ctx: p.ctx, Idle: p.t.Idle, Interim: j.interim}
	err := p.a.ReadHead(methodOf[j.toHEAD], p.t.Head)
	l.Fields = p.a.Fields
	switch {
	case err != nil:
		return p.end(err)
	case p.proven && p.a.IdleEnd(): // not the answer to j: see crossed
		return p.end(fmt.Errorf("%w: it was idle for too long, says the server", client.ErrEnded))
	}
	j.move(jobResponding)
	p.j = j
	return laneEvent{kind: laneHead, job: j, answer: &p.a, again: !p.a.Stays() && p.unreliable()}
}

// unreliable says whether an answer that ends the connection had better be asked for
// again: others that were sent behind it may cut it, or it is not the answer but
// what met the job on its way (again.go, crossed).
func (p *pipe) unreliable() bool {
	return p.last() && !p.whole() || p.proven && p.a.Status == 408
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
func (p *pipe) whole() bool { return p.a.Length >= 0 && p.a.Length <= int64(p.l.W-p.l.R) }

// methodOf is all of a method that the framing of its answer depends on.
var methodOf = map[bool][]byte{true: []byte("HEAD"), false: []byte("GET")}

func (p *pipe) readBody() laneEvent {
	p.l.Base = 0 // nobody looks at the head any more
	for {
		piece, err := p.a.Taken()
		if piece == nil && err == nil && !p.paused {
			p.paused = true
			return laneEvent{kind: lanePause, job: p.j}
		} else if piece == nil && err == nil {
			err = p.a.More()
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
	p.l.Found = p.l.Check()
	if p.lease != nil && p.l.Found != nil {
		p.lease.Suspect()
	}
	return p.l.Found
}

// oldest is the job whose answer comes next. If there is none it waits, or
// returns nil.
func (p *pipe) oldest(wait bool) (*Job, error) {
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
	clean := p.a.Detach()
	p.l.Keep = p.a.Keep
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs = append(p.jobs[:0], p.jobs[1:]...)
	p.proven = true
	switch {
	case p.a.Bound:
		p.ended = errBound
	case !p.a.Stays():
		p.ended = ErrLastAnswer
	case !clean:
		p.ended = context.Cause(p.ctx)
	case len(p.jobs) == 0 && !p.l.Quiet():
		p.ended = p.look()
	}
	if p.err == nil {
		p.err = p.ended
	}
	return laneEvent{kind: laneAnswer, job: j}
}

// end is the end of all reading.
func (p *pipe) end(why error) laneEvent {
	p.a.Detach()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = why
	if p.err == nil {
		p.err = why
	}
	if why == pool.ErrUntrusted {
		p.l.Found = why
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
func (p *pipe) fail(why error) []*Job {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = why
	}
	p.more.Signal()
	return p.jobs
}

func (p *pipe) unanswered() []*Job {
	p.a.Detach() // the engine may have ended the reading
	return p.jobs
}

// untouched is so for a job that never left, and behind an answer that says
// close: RFC 9112 §9.6 forbids the server to process it.
func (p *pipe) untouched(j *Job) bool {
	return j.from >= p.sent || p.ended == ErrLastAnswer
}

// recalled asks the pool. A backend that is not trusted with a second call on one
// connection gets one, and no more.
func (p *pipe) recalled() bool {
	if p.lease.IsWary() {
		p.onlyOne()
		return true
	}
	return p.lease.Recalled()
}

// onlyOne ends the lane behind its first job, or behind those it has.
func (p *pipe) onlyOne() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.depth = 1; p.taken > 0 && p.err == nil {
		p.err = pool.ErrUntrusted
		p.more.Signal()
	}
}

// Close gives the connection back, if every answer has come to its end and
// nothing is behind the last.
func (p *pipe) Close() {
	p.l.Release(p.err == errFinished && len(p.jobs) == 0)
}

// renew gets a fresh link instead of l, to go on with the jobs that are left.
func (p *pipe) renew(ctx context.Context) (Lane, error) {
	l, err := p.lease.Renew(ctx, len(p.jobs) > 0, p.t)
	return OpenPipe(ctx, l, err, p.t, p.most)
}
