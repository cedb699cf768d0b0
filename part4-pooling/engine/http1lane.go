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

// An http1Lane is the lane of HTTP/1.1. Nothing in a response says whose it is: the
// first is for the first job, and so on (RFC 9112 §9.3.2). So a byte that is
// doubtful is the end of it, and no response behind it is given to anybody.
type http1Lane struct {
	conn     *client.Conn
	lease    *pool.Lease // the pool's of l; nil without
	timeouts *client.Timeouts
	ctx      context.Context // ends the reader
	depth    int             // jobs in line, at most; the writer's
	maxDepth int             // depth, as it was at first

	response client.Response // the reader's, of j
	current  *Job            // nil between two responses
	paused   bool            // laneIdle was the last event
	readErr  error           // there is nothing more to read, and why

	writeMu sync.Mutex // held by who writes
	spare   []byte     // his: room for out

	mu          sync.Mutex // guards what follows
	jobsChanged sync.Cond  // jobs is not empty any more, or there will be none
	jobs        []*Job     // in line, and not answered to the end
	unsent      []byte     // of them: not given to the kernel yet
	unsentJobs  int        // how many those are
	bytesQueued int64      // bytes of jobs
	bytesSent   int64      // of them: given to the kernel
	persistent  bool       // the server has answered on this connection, and keeps it open
	writeClosed bool
	err         error // no more jobs, and why
}

// OpenHTTP1Lane opens a lane of depth jobs on a connection from the pool, or says why there is
// none. When ctx is done all jobs are withdrawn and nothing was sent: l goes back.
func OpenHTTP1Lane(ctx context.Context, l *pool.Lease, err error, t *client.Timeouts, depth int) (Lane, error) {
	if err == nil && ctx.Err() != nil {
		l.Release(true)
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	return newHTTP1Lane(ctx, l.Conn, l, t, depth), nil
}

func newHTTP1Lane(ctx context.Context, l *client.Conn, lease *pool.Lease, t *client.Timeouts, depth int) *http1Lane {
	p := &http1Lane{conn: l, lease: lease, timeouts: t, ctx: ctx, depth: depth, maxDepth: depth, persistent: l.Requests > 0}
	p.jobsChanged.L = &p.mu
	p.response.Conn = l
	l.BeginExchange()
	return p
}

// capacity is one job until the server has shown that it keeps a connection: RFC
// 9112 §9.3.2 forbids more behind a connection that failed, and an HTTP/1.0
// server would get what it cannot read.
func (p *http1Lane) capacity() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.err != nil:
		return 0
	case !p.persistent:
		return 1 - len(p.jobs)
	}
	return p.depth - len(p.jobs)
}

// write sends batch in one go.
func (p *http1Lane) write(batch []*Job) bool {
	if _, err := p.enqueue(batch); err != nil {
		return false
	}
	p.flush()
	return true
}

// enqueue puts batch in line, and returns how many are held there for the next flush.
// When nothing is on its way it looks first whether the connection is still good.
// With an error the jobs are untouched.
func (p *http1Lane) enqueue(batch []*Job) (held int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && len(p.jobs) == 0 {
		p.err = p.checkIdle() // nobody reads now, so we can
	}
	if p.err != nil {
		p.jobsChanged.Signal()
		return 0, p.err
	}
	for _, j := range batch {
		j.moveTo(jobWritten)
		before := len(p.unsent)
		p.unsent = j.Request.AppendTo(p.unsent)
		j.offset, j.isHEAD, j.onInterim = p.bytesQueued, string(j.Request.Method) == "HEAD", j.Request.OnInterim
		p.bytesQueued += int64(len(p.unsent) - before)
	}
	p.jobs = append(p.jobs, batch...)
	p.unsentJobs += len(batch)
	p.jobsChanged.Signal()
	return p.unsentJobs, nil
}

// flush sends what was put in line.
func (p *http1Lane) flush() {
	p.writeMu.Lock()
	defer p.writeMu.Unlock()
	p.mu.Lock()
	wire := p.unsent
	p.unsent, p.unsentJobs = p.spare[:0], 0
	p.mu.Unlock()
	if p.spare = wire; len(wire) == 0 {
		return
	}
	n, err := p.writeAll(wire)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bytesSent += int64(n); err != nil && p.err == nil {
		p.err = err
		unix.Shutdown(p.conn.Sysfd, unix.SHUT_WR) // half a request is out: the server answers those before it, and closes
	}
}

// writeAll waits only if the kernel does not take all of b at once.
func (p *http1Lane) writeAll(b []byte) (int, error) {
	var n int
	err := p.conn.RawConn.Write(func(fd uintptr) bool { n, _ = socket.WriteNow(fd, b); return true })
	if n = max(n, 0); err != nil || n == len(b) {
		return n, err
	}
	more, err := p.conn.Write(b[n:], client.DeadlineAfter(p.timeouts.Idle))
	return n + more, err
}

// read returns what comes next. Before it waits it says so, once.
func (p *http1Lane) read() laneEvent {
	switch {
	case p.readErr != nil:
		return laneEvent{kind: laneClosed, err: p.readErr}
	case p.current != nil:
		return p.readBody()
	}
	l := p.conn
	j, err := p.oldestJob(p.paused)
	if j != nil {
		l.SkipEmptyLines()
	}
	switch {
	case err != nil:
		return p.endReading(err)
	case !p.paused && (j == nil || http1.HeadLength(l.Buf[l.R:l.W], 0) == 0): // without a job l is the writer's to look at
		p.paused = true
		return laneEvent{kind: laneIdle}
	}
	p.paused = false
	return p.readHead(j)
}

func (p *http1Lane) readHead(j *Job) laneEvent {
	l := p.conn
	p.response = client.Response{ResponseHead: http1.ResponseHead{Fields: l.Fields}, Conn: l, Ctx: p.ctx, IdleTimeout: p.timeouts.Idle, OnInterim: j.onInterim}
	err := p.response.ReadHead(framingMethod[j.isHEAD], p.timeouts.Head)
	l.Fields = p.response.Fields
	switch {
	case err != nil:
		return p.endReading(err)
	case p.persistent && p.response.IsIdleTimeout(): // not the response to j: see crossed
		return p.endReading(fmt.Errorf("%w: it was idle for too long, says the server", client.ErrEnded))
	}
	j.moveTo(jobResponding)
	p.current = j
	return laneEvent{kind: laneHead, job: j, response: &p.response, unreliable: !p.response.Persists() && p.isUnreliable()}
}

// isUnreliable says whether a response that ends the connection had better be asked for
// again: others that were sent behind it may cut it, or it is not the response but
// what met the job on its way (retry.go, crossed).
func (p *http1Lane) isUnreliable() bool {
	return p.noteClose() && !p.bodyBuffered() || p.persistent && p.response.Status == 408
}

// noteClose is for a response that ends the connection: nothing more is sent (MUST, RFC
// 9112 §9.6). It returns whether something was sent behind its request. A backend
// that closes with that unread resets the connection, and may take the end of the
// response with it.
func (p *http1Lane) noteClose() (behind bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = ErrServerClosing
	}
	return len(p.jobs) > 1
}

// bodyBuffered says whether all of a body with a known length has come with its head.
func (p *http1Lane) bodyBuffered() bool {
	return p.response.Length >= 0 && p.response.Length <= int64(p.conn.W-p.conn.R)
}

// framingMethod is all of a method that the framing of its response depends on.
var framingMethod = map[bool][]byte{true: []byte("HEAD"), false: []byte("GET")}

func (p *http1Lane) readBody() laneEvent {
	p.conn.HeadEnd = 0 // nobody looks at the head any more
	for {
		piece, err := p.response.TryNext()
		if piece == nil && err == nil && !p.paused {
			p.paused = true
			return laneEvent{kind: laneIdle, job: p.current}
		} else if piece == nil && err == nil {
			err = p.response.WaitMore()
		}
		p.paused = false
		switch {
		case err == io.EOF:
			return p.finishResponse()
		case err != nil:
			return p.endReading(err)
		case piece != nil:
			return laneEvent{kind: laneData, job: p.current, piece: piece}
		}
	}
}

// checkIdle checks the connection when nothing is on its way, and the pool hears at once
// of what is found: the next request may come before the connection is given back.
func (p *http1Lane) checkIdle() error {
	p.conn.Fault = p.conn.CheckIdle()
	if p.lease != nil && p.conn.Fault != nil {
		p.lease.ReportFault()
	}
	return p.conn.Fault
}

// oldestJob is the job whose response comes next. If there is none it waits, or
// returns nil.
func (p *http1Lane) oldestJob(wait bool) (*Job, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case len(p.jobs) > 0:
			return p.jobs[0], nil
		case p.err != nil:
			return nil, p.err
		case p.writeClosed:
			return nil, errNoMoreJobs
		case !wait:
			return nil, nil
		}
		p.jobsChanged.Wait()
	}
}

var (
	errNoMoreJobs = errors.New("nothing more is asked for")
	errConnAuth   = errors.New("the backend authenticates connections: this one is not shared")
)

// finishResponse ends a response. What is behind it, when nobody has asked for more,
// is judged as the pool does it, and the pool is told.
func (p *http1Lane) finishResponse() laneEvent {
	j := p.current
	p.current = nil
	clean := p.response.Detach()
	p.conn.KeepAliveTimeout = p.response.KeepAliveTimeout
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs = append(p.jobs[:0], p.jobs[1:]...)
	p.persistent = true
	switch {
	case p.response.ConnAuth:
		p.readErr = errConnAuth
	case !p.response.Persists():
		p.readErr = ErrServerClosing
	case !clean:
		p.readErr = context.Cause(p.ctx)
	case len(p.jobs) == 0 && !p.conn.IsQuiet():
		p.readErr = p.checkIdle()
	}
	if p.err == nil {
		p.err = p.readErr
	}
	return laneEvent{kind: laneResponseEnd, job: j}
}

// endReading is the end of all reading.
func (p *http1Lane) endReading(why error) laneEvent {
	p.response.Detach()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readErr = why
	if p.err == nil {
		p.err = why
	}
	if why == pool.ErrQuarantined {
		p.conn.Fault = why
	}
	return laneEvent{kind: laneClosed, err: why}
}

func (p *http1Lane) closeWrite() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writeClosed = true
	p.jobsChanged.Signal()
}

// fail ends all writing, and returns the jobs in line.
func (p *http1Lane) fail(why error) []*Job {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = why
	}
	p.jobsChanged.Signal()
	return p.jobs
}

func (p *http1Lane) inFlight() []*Job {
	p.response.Detach() // the engine may have ended the reading
	return p.jobs
}

// unprocessed is so for a job that never left, and behind a response that says
// close: RFC 9112 §9.6 forbids the server to process it.
func (p *http1Lane) unprocessed(j *Job) bool {
	return j.offset >= p.bytesSent || p.readErr == ErrServerClosing
}

// shouldReturn asks the pool. A backend that is not trusted with a second request on one
// connection gets one, and no more.
func (p *http1Lane) shouldReturn() bool {
	if p.lease.IsQuarantined() {
		p.limitToOne()
		return true
	}
	return p.lease.ShouldReturn()
}

// limitToOne ends the lane behind its first job, or behind those it has.
func (p *http1Lane) limitToOne() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.depth = 1; p.bytesQueued > 0 && p.err == nil {
		p.err = pool.ErrQuarantined
		p.jobsChanged.Signal()
	}
}

// Close gives the connection back, if every response has come to its end and
// nothing is behind the last.
func (p *http1Lane) Close() {
	p.conn.Release(p.err == errNoMoreJobs && len(p.jobs) == 0)
}

// redial gets a fresh connection instead of l, to go on with the jobs that are left.
func (p *http1Lane) redial(ctx context.Context) (Lane, error) {
	l, err := p.lease.Redial(ctx, len(p.jobs) > 0, p.timeouts)
	return OpenHTTP1Lane(ctx, l, err, p.timeouts, p.maxDepth)
}
