package server

import "fmt"

// The state of a connection is five small enums. Each has its drawing and the
// table of its moves; a move that is not in the table panics. What must hold
// between them is in laws.go.

// An inputState says what becomes of the bytes that have arrived.
//
//	parsing ⇄ stalled            the queue is full; a response that leaves it makes room
//	parsing ⇄ exclusive → stuck  a request has the connection, and its input, for itself;
//	                             its handler is late and may never give them back
//	parsing, stalled, exclusive → inputClosed   nothing that arrives is a request any more
type inputState uint8

const (
	parsing inputState = iota
	stalled
	exclusive
	stuck
	inputClosed
)

var inputMoves = [...]uint8{
	parsing:     1<<stalled | 1<<exclusive | 1<<inputClosed,
	stalled:     1<<parsing | 1<<inputClosed,
	exclusive:   1<<parsing | 1<<stuck | 1<<inputClosed,
	stuck:       0,
	inputClosed: 0,
}

// A readState says what the kernel may still have for us to read.
//
//	wouldBlock ⇄ readable    a read may have left something, or has found nothing more
//	wouldBlock, readable ⇄ peerClosing  the client is said to have closed its side: a hint
//	any → atEOF              a read has found the end
type readState uint8

const (
	wouldBlock readState = iota
	readable
	peerClosing
	atEOF
)

var readMoves = [...]uint8{
	wouldBlock:  1<<readable | 1<<peerClosing | 1<<atEOF,
	readable:    1<<wouldBlock | 1<<peerClosing | 1<<atEOF,
	peerClosing: 1<<wouldBlock | 1<<atEOF,
	atEOF:       0,
}

// A writeState says who is at the responses that have to leave.
//
//	notWriting → writing → notWriting   a write took something
//	            writing → writeBlocked  the kernel had no room: there will be an event
//	            writing → writeRetry    that event came before the write has returned
//	            writeRetry, writeBlocked → notWriting
type writeState uint8

const (
	notWriting writeState = iota // nobody
	writing
	writeRetry
	writeBlocked
)

var writeMoves = [...]uint8{
	notWriting:   1 << writing,
	writing:      1<<notWriting | 1<<writeRetry | 1<<writeBlocked,
	writeRetry:   1 << notWriting,
	writeBlocked: 1 << notWriting,
}

// A turnState says whether the driver looks at the requests that have arrived.
//
//	turnIdle → turnActive → turnIdle    an event came; there was no more to take
//	turnActive → turnQueued → turnIdle  others have their turns first
//	turnIdle → turnQueued               there is something to look at that is no event
type turnState uint8

const (
	turnIdle turnState = iota
	turnQueued
	turnActive
)

var turnMoves = [...]uint8{
	turnIdle:   1<<turnQueued | 1<<turnActive,
	turnQueued: 1 << turnIdle,
	turnActive: 1<<turnQueued | 1<<turnIdle,
}

// A closeState says how far the connection has come on its way out.
//
//	open → lingering → closing → closed  all is answered, and the client was told (FIN)
//	open → closing → closed              it failed, or the client has closed too
type closeState uint8

const (
	open      closeState = iota
	lingering            // what the client still sends is thrown away
	closing              // nothing is read or written; a write may be about to return
	closed               // the socket is not ours any more
)

var closeMoves = [...]uint8{
	open:      1<<lingering | 1<<closing,
	lingering: 1 << closing,
	closing:   1 << closed,
	closed:    0,
}

func (s *inputState) moveTo(next inputState) {
	if inputMoves[*s]&(1<<next) == 0 {
		badMove("inputState", uint8(*s), uint8(next))
	}
	*s = next
}

func (s *readState) moveTo(next readState) {
	if readMoves[*s]&(1<<next) == 0 {
		badMove("readState", uint8(*s), uint8(next))
	}
	*s = next
}

func (s *writeState) moveTo(next writeState) {
	if writeMoves[*s]&(1<<next) == 0 {
		badMove("writeState", uint8(*s), uint8(next))
	}
	*s = next
}

func (s *turnState) moveTo(next turnState) {
	if turnMoves[*s]&(1<<next) == 0 {
		badMove("turnState", uint8(*s), uint8(next))
	}
	*s = next
}

func (s *closeState) moveTo(next closeState) {
	if closeMoves[*s]&(1<<next) == 0 {
		badMove("closeState", uint8(*s), uint8(next))
	}
	*s = next
}

// badMove is apart so that to is inlined.
func badMove(of string, from, to uint8) {
	panic(fmt.Sprintf("%s: no move from %d to %d", of, from, to))
}
