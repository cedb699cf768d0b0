package engine

import (
	"bytes"
	"sync"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/http2"
)

// A pump passes the response on one stream to its sink, on a goroutine of its own, because
// the sink may block: its client reads slowly, or the response waits for its turn. What
// arrives meanwhile waits here, at most a window of it (StreamLimits.Window): the backend
// may send more only when the sink has taken some. So a slow client stops its own response,
// and no other of its connection.
//
//	the reader       adds what arrives, and never waits
//	the pump         passes it on, and gives the window back (http2Lane.giveCredit)
//
// Most responses need no pump: they are short, and fit into the sink. A job of RoundTrip
// has one from the beginning, which is its caller's goroutine.
type pump struct {
	backend *sharedBackend
	job     *Job
	caller  bool // run is called by RoundTrip

	mu       sync.Mutex
	ready    sync.Cond          // signalled when there is something to pass on
	stream   *stream            // nil while the job waits for one
	interims []*client.Response // not passed on yet
	held     int                // bytes of interims
	head     *client.Response   // not passed on yet; nil: it is
	data     []byte             // likewise
	unpaused bool               // something was passed on since the last Pause
	trailers []http1.Field      // not passed on yet
	ended    bool               // nothing more will be added
	err      error              // once ended: why the response is not complete; nil: it is
	how      ending             // once ended with err
	busy     bool               // the sink is being called

	response *client.Response // the pump's, like spare
	spare    []byte           // the next memory for data
}

// An ending says what the end of a stream, or of a wait for one, means for sending the
// request again.
type ending int

const (
	perhapsProcessed ending = iota
	notProcessed            // certainly not, whatever its method is
	final                   // it is not sent again
)

func newPump(j *Job, b *sharedBackend) *pump {
	p := &pump{backend: b, job: j, caller: true}
	p.ready.L = &p.mu
	return p
}

// startPump gives s, whose response the reader has passed on so far, a pump. The caller is
// the reader, and holds the lock.
func (l *http2Lane) startPump(s *stream) {
	s.pump = &pump{backend: l.backend, job: s.job, stream: s, unpaused: s.unpaused, response: &s.response}
	s.pump.ready.L = &s.pump.mu
	go s.pump.run() // ends with the job, or when the job goes back to the queue
}

// attach says that the job of p has a new stream.
func (p *pump) attach(s *stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stream, p.ended, p.err = s, false, nil
	p.interims, p.held, p.head, p.data, p.trailers = nil, 0, nil, p.data[:0], nil
}

// The reader calls the add functions, with what is valid during the call only.

// addInterim drops what would make more than half a window wait: no flow control bounds
// interim responses, and a client can do without.
func (p *pump) addInterim(a *client.Response) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := sizeOf(a.Fields)
	if p.interims != nil && p.held+n > p.backend.m.Limits.Window/2 {
		return
	}
	p.held += n
	p.interims = append(p.interims, cloneHead(a))
	p.ready.Signal()
}

func (p *pump) addHead(a *client.Response) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.head = cloneHead(a)
	p.ready.Signal()
}

func (p *pump) addData(piece []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.data = append(p.data, piece...)
	p.ready.Signal()
}

func (p *pump) addTrailers(fields []http1.Field) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trailers = cloneFields(fields)
	p.ready.Signal()
}

// end says that nothing more will be added from s, which has been removed from its lane; nil:
// the job waits for a stream, and will get none. If why is not nil the response is incomplete.
// Only the first call has an effect, and none if p has given s back meanwhile.
func (p *pump) end(s *stream, why error, how ending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stream == s && !p.ended {
		p.ended, p.err, p.how = true, why, how
		p.ready.Signal()
	}
}

// run passes on what is added, until the job has ended or belongs to the queue again.
func (p *pump) run() {
	for {
		p.mu.Lock()
		p.busy = false
		for !p.ended && p.interims == nil && p.head == nil && len(p.data) == 0 && p.trailers == nil && !p.unpaused {
			p.ready.Wait()
		}
		s, interims, head, data, trailers := p.stream, p.interims, p.head, p.data, p.trailers
		p.interims, p.held, p.head, p.data, p.trailers = nil, 0, nil, p.spare[:0], nil
		pause := p.unpaused && !p.ended && len(data) == 0 && trailers == nil
		p.unpaused = len(data) > 0 || head != nil || p.unpaused && !pause
		ended, why, how := p.ended, p.err, p.how
		p.busy = true
		p.mu.Unlock()
		p.spare = data
		if ended && why != nil { // what is left is not worth passing on
			if p.resolve(s, why, how) {
				return
			}
			continue
		}
		err := p.passOn(s, interims, head, data, trailers, pause)
		switch {
		case err != nil:
			if p.stop(s, err) {
				return
			}
		case ended:
			p.release(s)
			p.finish(jobDone, nil)
			return
		}
	}
}

// passOn passes on what has been added since the last call.
func (p *pump) passOn(s *stream, interims []*client.Response, head *client.Response, data []byte, trailers []http1.Field, pause bool) error {
	j := p.job
	for _, a := range interims {
		if err := j.Request.OnInterim(a); err != nil {
			return err
		}
	}
	if head != nil {
		p.response = head
		j.Sink.Head(head)
	}
	if len(data) > 0 {
		if err := j.Sink.Data(data); err != nil {
			return err
		}
		s.lane.giveCredit(s, len(data))
	}
	if trailers != nil {
		p.response.Trailers = trailers
		return j.Sink.Trailers()
	}
	if pause {
		return j.Sink.Pause()
	}
	return nil
}

// stop ends the stream because the sink does not want the rest, and reports whether the job
// has ended: after ErrGiveBack it waits for its turn without a stream, and is sent again.
func (p *pump) stop(s *stream, err error) (ended bool) {
	s.lane.cancel(s, http2.Cancel)
	p.release(s)
	if err != ErrGiveBack {
		p.finish(jobWithdrawn, nil)
		return true
	}
	p.job.Sink.AwaitTurn()
	return !p.requeue()
}

// resolve decides what becomes of the job, whose stream has ended without a complete
// response, and reports whether p has nothing more to do.
func (p *pump) resolve(s *stream, why error, how ending) (ended bool) {
	p.release(s)
	next := p.backend.decide(p.job, why, how)
	if next == jobQueued {
		return !p.requeue()
	}
	p.finish(next, why)
	return true
}

// requeue puts the job back in the queue, and reports whether p is needed for its next stream.
func (p *pump) requeue() bool {
	p.mu.Lock()
	p.stream, p.ended, p.unpaused = nil, false, false
	p.mu.Unlock()
	p.backend.requeue(p.job) // from now on the job is the queue's
	return p.caller
}

// release records that the stream of the job has ended; nil: it had none.
func (p *pump) release(s *stream) {
	if s != nil {
		p.backend.release(s.lane, p.job)
	}
}

func (p *pump) finish(how jobState, why error) {
	if f := p.backend.m.counts.end(p.job, how, why); f != nil {
		f.Flush()
	}
}

// cloneHead and cloneFields copy what is a part of the reader's memory.
func cloneHead(a *client.Response) *client.Response {
	c := &client.Response{ResponseHead: a.ResponseHead}
	c.Fields = cloneFields(a.Fields)
	return c
}

func cloneFields(fields []http1.Field) []http1.Field {
	all := make([]http1.Field, len(fields)) // not nil: trailers without fields are trailers
	for i, f := range fields {
		all[i] = http1.Field{Name: bytes.Clone(f.Name), Value: bytes.Clone(f.Value)}
	}
	return all
}

const fieldSize = 48 // bytes of an http1.Field: two slices

// sizeOf returns the bytes that a copy of fields needs.
func sizeOf(fields []http1.Field) (n int) {
	for _, f := range fields {
		n += fieldSize + len(f.Name) + len(f.Value)
	}
	return n
}
