package engine

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/socket"
)

// An http1Lane is a Lane over HTTP/1.1. Nothing in a response names its request: the
// first response belongs to the first request, and so on (RFC 9112 §9.3.2). So after
// the first unexpected byte the lane ends, and no later byte reaches a job.
//
// Lock order: writeMu, then mu. Neither is held while the reader waits for the
// backend; writeMu is held during a write, which may block up to timeouts.Idle.
type http1Lane struct {
	conn     *client.Conn
	lease    *pool.Lease // of conn; nil for a pipeline, whose connection is from no pool
	timeouts *client.Timeouts
	ctx      context.Context // when it is done the reader stops
	depth    int             // jobs in flight, at most; the writer's
	maxDepth int             // the initial depth

	response  client.Response // the reader's: the response to current
	current   *Job            // the reader's: nil between two responses
	paused    bool            // the reader's: the last event was laneIdle
	bodyEnded bool            // the reader's: laneTrailers has been returned
	readErr   error           // the reader's: why nothing more is read

	writeMu sync.Mutex // held while writing to the connection
	spare   []byte     // guarded by writeMu: the next buffer for unsent

	mu          sync.Mutex // guards what follows; never held across anything that blocks
	jobsChanged sync.Cond  // signalled when jobs is no longer empty, or will stay empty
	jobs        []*Job     // without a complete response, oldest first
	unsent      []byte     // encoded requests that were not written yet
	unsentJobs  int        // how many requests unsent holds
	bytesQueued int64      // total size of all requests so far, written or not
	bytesSent   int64      // how much of that the kernel has accepted
	persistent  bool       // the server has answered on this connection, and kept it open
	writeClosed bool       // closeWrite was called
	err         error      // why no more jobs are accepted
}

// OpenHTTP1Lane returns a lane for at most depth jobs in flight on the connection of
// l; the lane owns l from then on. err is the result of the call that returned l
// (Pool.Claim, Lease.Redial): if it is not nil, or ctx is done, there is no lane, an
// unused l goes back to the pool, and the error is err or the cause of ctx. When ctx
// is done later, the lane's reader stops. t must not change while the lane is in use.
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

// capacity allows a single job until the server has shown that the connection is
// persistent: a client must not pipeline right after a connection failure (RFC 9112
// §9.3.2), and an HTTP/1.0 server could not read a second request.
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

// write sends all jobs of batch with one write(2), if the kernel accepts them.
func (p *http1Lane) write(batch []*Job) bool {
	if _, err := p.enqueue(batch); err != nil {
		return false
	}
	p.flush()
	return true
}

// enqueue encodes batch for the next flush, and returns how many requests that flush
// will write. If no job is in flight it first checks that the connection is still
// usable. After an error the jobs are untouched.
func (p *http1Lane) enqueue(batch []*Job) (held int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && len(p.jobs) == 0 {
		p.err = p.checkIdle() // the reader does not touch the connection without a job
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

// flush writes all encoded requests, including those of other goroutines.
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
		unix.Shutdown(p.conn.Sysfd, unix.SHUT_WR) // the last request may be incomplete: the server answers those before it, and closes
	}
}

// writeAll blocks only if the socket's send buffer has no room for all of b.
func (p *http1Lane) writeAll(b []byte) (int, error) {
	var n int
	err := p.conn.RawConn.Write(func(fd uintptr) bool { n, _ = socket.WriteNow(fd, b); return true })
	if n = max(n, 0); err != nil || n == len(b) {
		return n, err
	}
	more, err := p.conn.Write(b[n:], client.DeadlineAfter(p.timeouts.Idle))
	return n + more, err
}

// checkIdle checks the connection while no job is in flight. It reports a fault to the
// pool immediately, because the next request to this backend may start before the
// connection is returned.
func (p *http1Lane) checkIdle() error {
	p.conn.Fault = p.conn.CheckIdle()
	if p.lease != nil && p.conn.Fault != nil {
		p.lease.ReportFault()
	}
	return p.conn.Fault
}

// closeWrite makes the reader stop after the last response. The connection stays open
// in both directions.
func (p *http1Lane) closeWrite() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writeClosed = true
	p.jobsChanged.Signal()
}

// stopWriting makes a write fail that waits until the backend reads. A backend that has sent
// a long response may not, until we have read that.
func (p *http1Lane) stopWriting() { unix.Shutdown(p.conn.Sysfd, unix.SHUT_WR) }

// fail rejects further jobs, and returns those without a complete response.
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
	p.response.Detach() // stops waiting, if the engine ended the lane in the middle of a response
	return p.jobs
}

// unprocessed is true for a job of which the kernel accepted no byte, and for every
// job after a response with Connection: close, because the server must not process
// those (RFC 9112 §9.6).
func (p *http1Lane) unprocessed(j *Job) bool {
	return j.offset >= p.bytesSent || p.readErr == ErrServerClosing
}

// shouldReturn asks the pool. A quarantined backend gets only one request on each
// connection.
func (p *http1Lane) shouldReturn() bool {
	if p.lease.IsQuarantined() {
		p.limitToOne()
		return true
	}
	return p.lease.ShouldReturn()
}

// limitToOne ends the lane after its first job, or after the jobs that it already has.
func (p *http1Lane) limitToOne() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.depth = 1; p.bytesQueued > 0 && p.err == nil {
		p.err = pool.ErrQuarantined
		p.jobsChanged.Signal()
	}
}

// Close returns the connection to the pool. It is reused only if every response is
// complete and no bytes followed the last.
func (p *http1Lane) Close() {
	p.conn.Release(p.err == errNoMoreJobs && len(p.jobs) == 0)
}

// giveBack does not ask the pool, as the oldest job's sink has: the connection ends in
// the middle of a response, and could not be kept.
func (p *http1Lane) giveBack() { p.lease.GiveBack() }

// redial replaces the connection by a fresh one, under the same permit, for the jobs
// that are left.
func (p *http1Lane) redial(ctx context.Context) (Lane, error) {
	l, err := p.lease.Redial(ctx, len(p.jobs) > 0, p.timeouts)
	return OpenHTTP1Lane(ctx, l, err, p.timeouts, p.maxDepth)
}
