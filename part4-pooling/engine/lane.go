package engine

import (
	"context"

	"socketup/part4-pooling/client"
)

// A Lane is one connection to a backend that carries several jobs of one client at a
// time. An engine drives it with two goroutines, a writer and a reader; OpenHTTP1Lane
// opens one. The reader may wait for a sink: over HTTP/1.1 nothing behind a response can
// be read before it. Over HTTP/2 it must not, and clients share a connection: that is a
// Multiplexer and its http2Lanes, which have jobs and sinks in common with an engine. The
// lane owns its connection until Close or redial.
type Lane interface {
	// The writer calls these:

	capacity() int           // how many more jobs can be written now
	write(batch []*Job) bool // sends the batch; false: the lane has ended, and the jobs are untouched
	shouldReturn() bool      // the connection should go back to the pool once no job is in flight
	closeWrite()             // no more writes; after the last response read returns laneClosed

	// The reader calls these:

	read() laneEvent // blocks until the next event
	stopWriting()    // nothing more will be read: a write in progress fails, and the connection cannot be kept

	// The writer calls these once read has returned laneClosed:

	inFlight() []*Job        // jobs without a complete response, in the order they were written
	unprocessed(j *Job) bool // whether the backend certainly has not processed j, which is one of inFlight

	// Close returns the connection to the pool, which closes it unless every
	// response was complete and no bytes followed the last.
	Close()
	// giveBack ends the lane like Close, for others who want its connection. The engine
	// opens another lane when its oldest job has its turn.
	giveBack()
	// redial replaces this lane by one on a fresh connection, for the jobs that are
	// left; it is called instead of Close. It fails when ctx is done.
	redial(ctx context.Context) (Lane, error)
}

// A laneEvent is the result of one read.
type laneEvent struct {
	kind       laneEventKind
	job        *Job             // the job that the response belongs to
	response   *client.Response // for laneHead: valid until the next read
	piece      []byte           // for laneData: valid until the next read
	err        error            // for laneClosed
	unreliable bool             // for laneHead: the response may be cut short or may not be the job's; retry on a fresh connection
}

type laneEventKind int

const (
	laneHead        laneEventKind = iota // a response head
	laneData                             // a piece of the body
	laneTrailers                         // the trailers, and with them the whole response, have arrived
	laneResponseEnd                      // the response is complete
	laneIdle                             // the next read will block
	laneClosed                           // nothing more will be read; err is the reason
)
