package engine

import (
	"fmt"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
)

// A Job is a request on its way through an engine. It has one owner at a time,
// and what he does moves it on:
//
//	New ------> Queued ------> Written ------> Responding ------> Done
//	taker's     ^  engine's    | lane's        | lane's
//	            |  queue       |               |
//	            +--------------+---------------+   the connection ended: once more
//
// Once it is queued it may also be Failed, or Withdrawn when nobody wants the
// response any more. These and Done are ends: a job comes to one of them, once, and
// its sink hears of it. A job is moved, not shared: who has given it away must
// not touch it again.
type Job struct {
	Request   *client.Request
	Sink      sink
	state     jobState
	attempts  int                             // connections that ended with it
	offset    int64                           // where it begins in what its lane sends
	isHEAD    bool                            // the response has no body
	onInterim func(*http1.ResponseHead) error // is told of responses before the one that counts; nil: they are passed over
	discarded int                             // bytes of its response that nobody took
}

// A sink is where the response to a job goes. One goroutine calls it.
type sink interface {
	Wanted() bool            // somebody waits for the response
	Head(a *client.Response) // a response begins: its fields are good until head returns, its trailers at the end; again, if nothing of an earlier one is out
	Data(piece []byte) error // waits while the sink is full, which is all the flow control there is; an error: nobody takes the rest
	Pause()                  // no more for now: what came must not wait
	Committed() bool         // a part of the response is out: it cannot be taken back
	End(why error) Flusher   // once, and may wait as data does; nil: the response is whole, or nobody wants it. Returns whose flushAll is due, or nil
}

// A Flusher has got answers that it has not written yet. It outlives the sinks: a
// client has one for all of its requests, so one write takes many responses.
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

// jobMoves are the arrows above.
var jobMoves = [...][]jobState{
	jobNew:        {jobQueued},
	jobQueued:     {jobWritten, jobFailed, jobWithdrawn},
	jobWritten:    {jobQueued, jobResponding, jobFailed, jobWithdrawn},
	jobResponding: {jobQueued, jobDone, jobFailed, jobWithdrawn},
	jobDone:       {},
	jobFailed:     {},
	jobWithdrawn:  {},
}

// moveTo is for the job's owner.
func (j *Job) moveTo(to jobState) {
	for _, s := range jobMoves[j.state] {
		if s == to {
			j.state = to
			return
		}
	}
	panic(fmt.Sprintf("a job goes from %v to %v", j.state, to))
}
