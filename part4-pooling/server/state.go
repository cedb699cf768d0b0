package server

import "fmt"

// The state of a connection is five small enums. Each has its drawing and the
// table of its moves; a move that is not in the table panics. What must hold
// between them is in laws.go.

// An intake says what becomes of the bytes that have arrived.
//
//	taking ⇄ stalled           the line is full; an answer that leaves it makes room
//	taking ⇄ alone → lost      a request has the connection, and its input, for itself;
//	                           its handler is late and may never give them back
//	taking, stalled, alone → over   nothing that arrives is a request any more
type intake uint8

const (
	taking intake = iota
	stalled
	alone
	lost
	over
)

var intakeMoves = [...]uint8{
	taking:  1<<stalled | 1<<alone | 1<<over,
	stalled: 1<<taking | 1<<over,
	alone:   1<<taking | 1<<lost | 1<<over,
	lost:    0,
	over:    0,
}

// An arrival says what the kernel may still have for us to read.
//
//	silent ⇄ readable        a read may have left something, or has found nothing more
//	silent, readable ⇄ ending  the client is said to have closed its side: a hint
//	any → atEnd              a read has found the end
type arrival uint8

const (
	silent arrival = iota
	readable
	ending
	atEnd
)

var arrivalMoves = [...]uint8{
	silent:   1<<readable | 1<<ending | 1<<atEnd,
	readable: 1<<silent | 1<<ending | 1<<atEnd,
	ending:   1<<silent | 1<<atEnd,
	atEnd:    0,
}

// An output says who is at the answers that have to leave.
//
//	unwritten → writing → unwritten     a write took something
//	            writing → blocked       the kernel had no room: there will be an event
//	            writing → retrying      that event came before the write has returned
//	            retrying, blocked → unwritten
type output uint8

const (
	unwritten output = iota // nobody
	writing
	retrying
	blocked
)

var outputMoves = [...]uint8{
	unwritten: 1 << writing,
	writing:   1<<unwritten | 1<<retrying | 1<<blocked,
	retrying:  1 << unwritten,
	blocked:   1 << unwritten,
}

// A turn says whether the driver looks at the requests that have arrived.
//
//	resting → looking → resting    an event came; there was no more to take
//	looking → owed → resting       others have their turns first
//	resting → owed                 there is something to look at that is no event
type turn uint8

const (
	resting turn = iota
	owed
	looking
)

var turnMoves = [...]uint8{
	resting: 1<<owed | 1<<looking,
	owed:    1 << resting,
	looking: 1<<owed | 1<<resting,
}

// An end says how far the connection has come on its way out.
//
//	open → lingering → dead → closed    all is answered, and the client was told (FIN)
//	open → dead → closed                it failed, or the client has closed too
type end uint8

const (
	open      end = iota
	lingering     // what the client still sends is thrown away
	dead          // nothing is read or written; a write may be about to return
	closed        // the socket is not ours any more
)

var endMoves = [...]uint8{
	open:      1<<lingering | 1<<dead,
	lingering: 1 << dead,
	dead:      1 << closed,
	closed:    0,
}

func (s *intake) to(next intake) {
	if intakeMoves[*s]&(1<<next) == 0 {
		noMove("intake", uint8(*s), uint8(next))
	}
	*s = next
}

func (s *arrival) to(next arrival) {
	if arrivalMoves[*s]&(1<<next) == 0 {
		noMove("arrival", uint8(*s), uint8(next))
	}
	*s = next
}

func (s *output) to(next output) {
	if outputMoves[*s]&(1<<next) == 0 {
		noMove("output", uint8(*s), uint8(next))
	}
	*s = next
}

func (s *turn) to(next turn) {
	if turnMoves[*s]&(1<<next) == 0 {
		noMove("turn", uint8(*s), uint8(next))
	}
	*s = next
}

func (s *end) to(next end) {
	if endMoves[*s]&(1<<next) == 0 {
		noMove("end", uint8(*s), uint8(next))
	}
	*s = next
}

// noMove is apart so that to is inlined.
func noMove(of string, from, to uint8) {
	panic(fmt.Sprintf("%s: no move from %d to %d", of, from, to))
}
