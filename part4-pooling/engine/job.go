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
// answer any more. These and Done are ends: a job comes to one of them, once, and
// its sink hears of it. A job is moved, not shared: who has given it away must
// not touch it again.
type Job struct {
	Call     *client.Call
	To       sink
	state    jobState
	attempts int                        // connections that ended with it
	from     int64                      // where it begins in what its lane sends
	toHEAD   bool                       // the answer has no body
	interim  func(*http1.Heading) error // is told of answers before the one that counts; nil: they are passed over
	unwanted int                        // bytes of its answer that nobody took
}

// A sink is where the answer to a job goes. One goroutine calls it.
type sink interface {
	Wanted() bool            // somebody waits for the answer
	Head(a *client.Answer)   // an answer begins: its fields are good until head returns, its trailers at the end; again, if nothing of an earlier one is out
	Data(piece []byte) error // waits while the sink is full, which is all the flow control there is; an error: nobody takes the rest
	Pause()                  // no more for now: what came must not wait
	Begun() bool             // a part of the answer is out: it cannot be taken back
	End(why error) Flusher   // once, and may wait as data does; nil: the answer is whole, or nobody wants it. Returns whose flushAll is due, or nil
}

// A Flusher has got answers that it has not written yet. It outlives the sinks: a
// client has one for all of its requests, so one write takes many answers.
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

// move is for the job's owner.
func (j *Job) move(to jobState) {
	for _, s := range jobMoves[j.state] {
		if s == to {
			j.state = to
			return
		}
	}
	panic(fmt.Sprintf("a job goes from %v to %v", j.state, to))
}
