package server

// An action is what a conn asks its driver to do next. Events request the first five,
// which collect in conn.actions; nextAction derives the others from the state.
type action uint8

const (
	actionWake         action      = 1 << iota // wake the goroutines that wait for a state change
	actionTurn                                 // call onTurn, after other connections have had their turns
	actionRearm                                // input may be left in the kernel: have it report the socket's events again
	actionIdleCheck                            // read once more, then call closeIfIdle
	actionResetOnClose                         // from now on a close sends RST: SO_LINGER with a timeout of 0
	actionFINOnClose                           // from now on a close sends FIN again
	actionWrite                                // write output.unsent, then call onWritten, output.onBlocked or onWriteError
	actionFIN                                  // shutdown(SHUT_WR), then discard what the client still sends
	actionClose        = action(0)             // close the socket; no action follows. Valid only when nextAction returned ok
)

// A reaction is what a driver does about an event.
type reaction uint8

const (
	reactNothing reaction = iota
	reactTake             // call takeRequest on input that has been read
	reactRead             // read, then call takeRequest
	reactDiscard          // read and discard
)
