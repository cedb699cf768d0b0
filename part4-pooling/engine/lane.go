package engine

import (
	"context"

	"socketup/part4-pooling/client"
)

// A Lane is a connection to a backend that carries several jobs at once. An
// engine uses it with two goroutines, a writer and a reader, and knows nothing
// of the framing: http1lane.go has HTTP/1.1, and HTTP/2 would be another file.
type Lane interface {
	capacity() int                            // writer: how many more jobs can be written now
	write(batch []*Job) bool                  // writer: sends them; false: it has ended, and they are untouched
	shouldReturn() bool                       // writer: the connection should be given back when nothing is on its way
	closeWrite()                              // writer: nothing more will be written; read ends behind the last response
	read() laneEvent                          // reader: waits for what comes next
	inFlight() []*Job                         // when read has ended: the jobs that it left, in the order they were written
	unprocessed(j *Job) bool                  // of one of them: the backend has not begun to work on it
	Close()                                   // when read has ended; or else:
	redial(ctx context.Context) (Lane, error) // a lane in the place of this one, on a fresh connection, for the jobs that it left; none when ctx is done
}

// A laneEvent is what a lane has read.
type laneEvent struct {
	kind       laneEventKind
	job        *Job             // whose response it belongs to
	response   *client.Response // for laneHead: good until the next read
	piece      []byte           // for laneData: good until the next read
	err        error            // for laneClosed
	unreliable bool             // for laneHead: it is not to be relied on, and worth asking once more on a fresh connection
}

type laneEventKind int

const (
	laneHead        laneEventKind = iota // a response begins
	laneData                             // a piece of its body
	laneResponseEnd                      // it is whole
	laneIdle                             // the next read has to wait
	laneClosed                           // there is nothing more to read, and err says why
)
