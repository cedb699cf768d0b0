package engine

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/socket"
)

// An http2Lane is a connection to a backend that speaks HTTP/2 (RFC 9113), as its client.
// Two goroutines use it, its writer and its reader:
//
//	the writer  takes jobs, and writes all frames (http2write.go)
//	the reader  handles the frames that arrive (http2read.go), and at each tick looks for
//	            streams that are late or no longer wanted (http2tick.go)
//
// A stream has one owner, the reader or the goroutine of its pump, and only the owner calls
// the sink of its job. Whoever removes the stream from streams ends the job, or has the owner
// end it.
type http2Lane struct {
	backend *sharedBackend
	conn    *client.Conn
	lease   *pool.Lease

	// The lock of backend guards these:
	open     int  // jobs that have a stream, or have been taken for one
	limit    int  // of open: the smaller of ours and the backend's
	draining bool // takes no more jobs

	wake chan struct{} // has a token when the writer should look for something to write
	done chan struct{} // closed when the reader has ended

	mu          sync.Mutex // guards what follows
	changed     sync.Cond  // signalled when an upload may be able to go on
	streams     map[uint32]*stream
	nextID      uint32    // of the next stream; odd (RFC 9113 §5.1.1)
	lastID      uint32    // of the last stream that the backend may process (GOAWAY)
	out         []byte    // frames to be written
	answers     int       // frames of out that the backend has caused
	queued      int64     // bytes of all frames so far, written or not
	written     int64     // of these, bytes that the kernel has accepted
	resets      int       // streams that we have reset
	late        int       // bytes that may still arrive on streams that we have reset
	sendWindow  int64     // of the connection: bytes of bodies that we may send
	firstWindow int64     // of a stream when it is opened
	armed       time.Time // when the reader wakes up at the latest
	heard       time.Time // when the backend last sent something, by the wall clock: it runs on while a process is frozen
	pinged      time.Time // when a PING was sent that is not answered; zero: there is none
	sentData    bool      // a piece of a request body was sent since the backend last opened a window
	proving     bool      // no stream is opened before the answer to a PING
	err         error     // why the lane ends

	// The reader's:
	reader laneReader

	// The writer's:
	spare      []byte // the next memory for out
	batch      []*Job
	block      []byte        // memory for a header block
	blank      bool          // no header block has been sent
	writerDone chan struct{} // closed when the writer has ended
}

// A stream is one request and its response on a lane (RFC 9113 §5). The lock of the lane
// guards it, except what belongs to the reader or the pump.
type stream struct {
	lane *http2Lane
	id   uint32
	job  *Job
	pump *pump // passes the response on; nil: the reader does

	offset     int64     // of its first byte in the output of the lane
	sendWindow int64     // bytes of the body that we may send; may be negative (§6.9.2)
	credit     int       // bytes of the response that were passed on, and are not given back as window
	window     int       // bytes that the backend may still send
	uploading  bool      // the request is not complete
	since      time.Time // when the wait for the backend began: for the head, for more of the body, or for window
	stalled    bool      // the wait is for window
	interims   int       // interim responses so far

	state     responseState
	remaining int64 // bytes of the body that content-length announces; -1: unknown
	response  client.Response
	unpaused  bool // the reader's: bytes were passed on since the last Pause
}

// A responseState says what may arrive next on a stream.
type responseState int

const (
	awaitingHead responseState = iota
	inBody
	complete // END_STREAM has arrived
)

var (
	errPingTimeout = fmt.Errorf("%w: the backend did not answer a PING in time", client.ErrEnded)
	errGoAway      = fmt.Errorf("%w: the backend sent GOAWAY before it processed the request", client.ErrEnded)
	errRefused     = fmt.Errorf("%w: the backend refused the stream", client.ErrEnded)
	errYield       = fmt.Errorf("%w: it took no more requests, and others needed its place", client.ErrEnded)
	errIdleLane    = errors.New("the connection has been idle for too long")
)

// maxOut is how many bytes of frames may wait for the writer before uploads wait.
const maxOut = 64 << 10

// openHTTP2Lane sends the connection preface on the connection of l, which the lane owns
// from now on, and waits for the backend's SETTINGS. After an error the connection has been
// given back.
func openHTTP2Lane(b *sharedBackend, l *pool.Lease) (*http2Lane, error) {
	limits := &b.m.Limits
	p := &http2Lane{backend: b, conn: l.Conn, lease: l, limit: limits.Streams, blank: true,
		wake: make(chan struct{}, 1), done: make(chan struct{}), writerDone: make(chan struct{}), streams: map[uint32]*stream{}, nextID: 1, lastID: http2.MaxWindow,
		sendWindow: http2.DefaultWindow, firstWindow: http2.DefaultWindow, heard: wallNow()}
	p.changed.L = &p.mu
	p.reader.init(limits)
	l.BeginExchange()
	hello := append([]byte(nil), http2.Preface...)
	hello = http2.AppendSettings(hello,
		http2.Setting{ID: http2.SettingHeaderTableSize, Value: 0}, // no response can change how we read another
		http2.Setting{ID: http2.SettingEnablePush, Value: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Value: uint32(limits.Window)},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Value: client.MaxHead})
	hello = http2.AppendWindowUpdate(hello, 0, http2.MaxWindow-http2.DefaultWindow) // the windows of the streams are the bound
	_, err := p.conn.Write(hello, client.DeadlineAfter(b.m.timeouts.Connect))
	if err != nil {
		err = fmt.Errorf("%w: %w", client.ErrEnded, err)
	} else {
		err = p.awaitSettings(client.DeadlineAfter(b.m.timeouts.Connect))
	}
	if err != nil {
		l.Release(false)
		return nil, fmt.Errorf("HTTP/2 connection to %s: %w", b.addr, err)
	}
	return p, nil
}

// start starts the goroutines, which end with the connection.
func (l *http2Lane) start() {
	l.backend.m.counts.Engines.Add(1)
	go l.runWriter()
	go l.runReader()
	l.wakeUp()
}

// close closes a lane that was never started.
func (l *http2Lane) close() { l.lease.Release(false) }

// wakeUp makes the writer look for something to write. It does not block.
func (l *http2Lane) wakeUp() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// fail ends the lane: its reader returns, and decides what becomes of the jobs.
func (l *http2Lane) fail(why error) { l.failAt(socket.LongAgo, why) }

// failAt is fail for when the reader has handled what arrives before at.
func (l *http2Lane) failAt(at time.Time, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = why
	}
	l.armed = at
	l.conn.SetReadDeadline(at)
}

// finish removes s, whose response is complete, from the lane. The caller then owns the job,
// and ends it.
func (l *http2Lane) finish(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removeLocked(s)
}

func (l *http2Lane) removeLocked(s *stream) {
	delete(l.streams, s.id)
	if s.uploading {
		l.changed.Broadcast()
	}
}

// cancel ends s before its response is complete: the backend need not send the rest. It
// returns false if the stream has ended already.
func (l *http2Lane) cancel(s *stream, code http2.ErrorCode) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cancelLocked(s, code)
}

func (l *http2Lane) cancelLocked(s *stream, code http2.ErrorCode) bool {
	if l.streams[s.id] != s {
		return false
	}
	l.removeLocked(s)
	limits := &l.backend.m.Limits
	l.late = min(l.late+max(s.window, 0), limits.Streams*limits.Window)
	l.enqueue(http2.AppendRSTStream(l.out, s.id, code))
	l.resets++
	l.backend.m.counts.Cancelled.Add(1)
	l.wakeUp()
	return true
}

// enqueue replaces out by frames, which is out with more frames. The caller holds the lock.
func (l *http2Lane) enqueue(frames []byte) {
	l.queued += int64(len(frames) - len(l.out))
	l.out = frames
}

// answer is enqueue for a frame that the backend has caused.
func (l *http2Lane) answer(frames []byte) {
	l.answers++
	l.enqueue(frames)
}

// giveCredit records that n bytes of the response on s were passed on, and lets the backend
// send as many more.
func (l *http2Lane) giveCredit(s *stream, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams[s.id] != s || s.state == complete {
		return
	}
	s.since = time.Now() // until now the backend may have waited for us
	if s.credit += n; s.credit >= l.backend.m.Limits.Window/2 {
		l.sendCredit(s)
	}
}

// sendCredit gives the backend the credit of s back as window. The caller holds the lock.
func (l *http2Lane) sendCredit(s *stream) {
	l.answer(http2.AppendWindowUpdate(l.out, s.id, uint32(s.credit)))
	s.window += s.credit
	s.credit = 0
	l.wakeUp()
}

// wallNow is the time by the wall clock: unlike the monotonic clock it runs on while the
// machine, or the container, is frozen.
func wallNow() time.Time { return time.Now().Round(0) }
