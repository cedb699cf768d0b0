package server

// What a conn has its driver do. The first of them are asked for by events, the
// others follow from the state.
type ask uint8

const (
	askWake    ask      = 1 << iota // goroutines that wait for a change
	askTurn                         // call turnBegins, when others had their turns
	askEvents                       // there may be events that were not looked at: tell them again
	askLook                         // read once more, and call looked
	askReset                        // from now on every close is a reset
	askOrderly                      // from now on a close is a close again
	doWrite                         // out.unsent, and call wrote, wouldBlock or fail
	doFIN                           // tell the client that no more is sent, and discard what it sends
	doClose    = ask(0)             // and nothing else, ever; only after wants said so
)

// What a driver should do about an event.
type want uint8

const (
	wantNothing want = iota
	wantTake         // take requests
	wantRead         // read, and then take
	wantDiscard      // read what nobody wants
)
