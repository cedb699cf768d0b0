package server

// What a conn has its driver do. The first of them are asked for by events, the
// others follow from the state.
type action uint8

const (
	actionWake         action      = 1 << iota // goroutines that wait for a change
	actionTurn                                 // call onTurn, when others had their turns
	actionRearm                                // there may be events that were not looked at: tell them again
	actionIdleCheck                            // read once more, and call looked
	actionResetOnClose                         // from now on every close is a reset
	actionFINOnClose                           // from now on a close is a close again
	actionWrite                                // out.unsent, and call wrote, wouldBlock or fail
	actionFIN                                  // tell the client that no more is sent, and discard what it sends
	actionClose        = action(0)             // and nothing else, ever; only after wants said so
)

// What a driver should do about an event.
type reaction uint8

const (
	reactNothing reaction = iota
	reactTake             // take requests
	reactRead             // read, and then take
	reactDiscard          // read what nobody wants
)
