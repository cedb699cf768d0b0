package engine

import (
	"context"

	"socketup/part4-pooling/client"
)

// A Lane is a connection to a backend that carries several jobs at once. An
// engine uses it with two goroutines, a writer and a reader, and knows nothing
// of the framing: pipelined.go has HTTP/1.1, and HTTP/2 would be another file.
type Lane interface {
	room() int                               // writer: how many more jobs can be written now
	write(batch []*Job) bool                 // writer: sends them; false: it has ended, and they are untouched
	recalled() bool                          // writer: the connection should be given back when nothing is on its way
	finish()                                 // writer: nothing more will be written; read ends behind the last answer
	read() laneEvent                         // reader: waits for what comes next
	unanswered() []*Job                      // when read has ended: the jobs that it left, in the order they were written
	untouched(j *Job) bool                   // of one of them: the backend has not begun to work on it
	Close()                                  // when read has ended; or else:
	renew(ctx context.Context) (Lane, error) // a lane in the place of this one, on a fresh connection, for the jobs that it left; none when ctx is done
}

// A laneEvent is what a lane has read.
type laneEvent struct {
	kind   laneEventKind
	job    *Job           // whose answer it belongs to
	answer *client.Answer // for laneHead: good until the next read
	piece  []byte         // for laneData: good until the next read
	err    error          // for laneEnd
	again  bool           // for laneHead: it is not to be relied on, and worth asking once more on a fresh connection
}

type laneEventKind int

const (
	laneHead   laneEventKind = iota // an answer begins
	laneData                        // a piece of its body
	laneAnswer                      // it is whole
	lanePause                       // the next read has to wait
	laneEnd                         // there is nothing more to read, and err says why
)
