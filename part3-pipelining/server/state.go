package server

import "fmt"

// The state of a connection is five small enums. Each has a drawing and a table of
// allowed moves; any other move panics. The invariants between them are in
// laws_test.go, and the tests check them after every event.

// An inputState says what the bytes that arrive are used for.
//
//	parsing ⇄ stalled            the slot queue or the memory budget is full; a response that leaves makes room
//	parsing ⇄ exclusive → stuck  a handler has the connection, and its input, to itself;
//	                             it is past its deadline and may never return them
//	parsing, stalled, exclusive → inputClosed   no more requests are taken
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

// A readState says what the kernel's receive buffer may hold.
//
//	wouldBlock ⇄ readable    a read filled the buffer, so more may follow; a read got less
//	wouldBlock, readable → peerClosing  an event said that the client closed its side: a hint
//	peerClosing → wouldBlock  the hint was wrong: a read returned EAGAIN
//	any → atEOF              a read returned 0
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

// A writeState says whether output is being written, or waits for the kernel.
//
//	notWriting → writing → notWriting   a write sent some bytes
//	            writing → writeBlocked  the send buffer is full; an event will say when it is not
//	            writing → writeRetry    that event came before the write returned
//	            writeRetry, writeBlocked → notWriting
type writeState uint8

const (
	notWriting writeState = iota
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

// A turnState says whether the driver takes requests from the connection.
//
//	turnIdle → turnActive → turnIdle    an event began a turn; it ended with no more to take
//	turnActive → turnQueued → turnIdle  other connections have their turns first
//	turnIdle → turnQueued               there may be requests, and no event will say so
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

// A closeState says how far closing the connection has progressed.
//
//	open → lingering → closing → closed  all is answered and FIN was sent
//	open → closing → closed              the connection failed, or the client has closed its side
type closeState uint8

const (
	open      closeState = iota
	lingering            // FIN was sent; input is discarded
	closing              // no read or write begins; a write may still be in progress
	closed               // the driver was told to close the socket
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

// badMove is a function of its own so that moveTo can be inlined.
func badMove(of string, from, to uint8) {
	panic(fmt.Sprintf("%s: no move from %d to %d", of, from, to))
}
