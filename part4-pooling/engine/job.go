package engine

import (
	"fmt"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/pool"
)

// A Job is one request on its way through an engine. It has one owner at a time,
// and only the owner changes its state:
//
//	New ------> Queued ------> Written ------> Responding ------> Done
//	caller's    ^  engine's    | lane's        | lane's
//	            |  queue       |               |
//	            +--------------+---------------+   the connection ended: retry
//
// A queued job can also become Failed, or Withdrawn if its response is no longer
// wanted. Done, Failed and Withdrawn are final: each job reaches exactly one of
// them, once, and the engine then calls Sink.End. A job is moved, not shared: after
// Registry.Push has returned true the caller must not touch it.
type Job struct {
	Request   *client.Request // idempotent and without a body; unchanged until Sink.End
	Sink      Sink            // receives the response
	state     jobState
	attempts  int                          // connections that ended with this job unanswered
	offset    int64                        // of its first byte in the lane's output
	isHEAD    bool                         // the response has no body
	onInterim func(*client.Response) error // receives 1xx responses, and may return ErrGiveBack; nil: they are discarded
	discarded int                          // bytes of the response that the sink refused

	// Of a job that is sent over HTTP/2 (multiplexer.go):
	waiting  waiting // its place in the queue, and its client
	refusals int     // how often the backend said that it had not processed the job
	upload   *upload // sends its body; nil: it has none
	pump     *pump   // passes the response on; nil: the reader does
}

// A Sink receives the response to one job. The engine calls it from one goroutine
// at a time:
//
//	Wanted                          at any time
//	(Head (Data|Pause)* Trailers)* End  in this order, without Trailers if there are none; a retry begins again with Head
type Sink interface {
	// Wanted reports whether the client still waits for the response.
	Wanted() bool
	// Head begins a response. Its fields are valid until Head returns; a.Trailers
	// may be read in Trailers. Head is called a second time, after a retry,
	// only while Committed is false.
	Head(a *client.Response)
	// Data passes a piece of the body, valid until Data returns. It blocks while
	// the sink is full, which is the only flow control. After ErrGiveBack the engine
	// gives its connection back; after another error it discards the rest of the response.
	Data(piece []byte) error
	// Room returns how many bytes Data takes now without blocking.
	Room() int
	// Pause says that the engine will wait for the backend now: bytes that the sink
	// has buffered should be sent. It may block, and fail, like Data.
	Pause() error
	// WantsTrailers reports whether Trailers does anything.
	WantsTrailers() bool
	// Trailers says that a.Trailers have arrived, and with them the whole response. It
	// may block, and fail, like Data.
	Trailers() error
	// AwaitTurn blocks until all earlier responses of the client are complete, or the
	// client has gone. Only a sink that returns ErrGiveBack needs it.
	AwaitTurn()
	// Committed reports whether part of the response has been sent to the client,
	// so that the request can no longer be retried.
	Committed() bool
	// End is called once, last; like Data it may block. err is nil if the response
	// is complete or no longer wanted. End returns the Flusher to call when the
	// engine has no more responses at hand, or nil.
	End(err error) Flusher
}

// ErrGiveBack is the error of a Sink whose response waits for its turn, while others wait
// for the engine's connection (pool/giveback.go).
var ErrGiveBack = pool.ErrGiveBack

// A Flusher holds complete responses that are not written yet. It outlives the
// sinks: a client connection has one for all its requests, so that one write(2)
// carries many responses.
type Flusher interface{ Flush() }

type jobState int

const (
	jobNew jobState = iota
	jobQueued
	jobWritten
	jobResponding
	jobDone
	jobFailed
	jobWithdrawn
)

var jobStates = [...]string{"New", "Queued", "Written", "Responding", "Done", "Failed", "Withdrawn"}

func (s jobState) String() string { return jobStates[s] }

// jobMoves are the allowed transitions: the arrows above.
var jobMoves = [...][]jobState{
	jobNew:        {jobQueued},
	jobQueued:     {jobWritten, jobFailed, jobWithdrawn},
	jobWritten:    {jobQueued, jobResponding, jobFailed, jobWithdrawn},
	jobResponding: {jobQueued, jobDone, jobFailed, jobWithdrawn},
	jobDone:       {},
	jobFailed:     {},
	jobWithdrawn:  {},
}

// moveTo changes the state. Only the owner calls it; a transition that jobMoves does
// not allow is a bug, and panics.
func (j *Job) moveTo(to jobState) {
	for _, s := range jobMoves[j.state] {
		if s == to {
			j.state = to
			return
		}
	}
	panic(fmt.Sprintf("illegal job transition from %v to %v", j.state, to))
}
