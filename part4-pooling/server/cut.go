package server

// An answer without a length that is not in chunks ends where its connection
// ends (RFC 9112 §6.3): all that a client of HTTP/1.0 knows. To that client a
// close in the middle is the end of a whole answer, so a cut must be a reset. The
// kernel is told when such an answer begins, and told otherwise when it is whole
// (SO_LINGER with a time of 0, socket(7)): then it does not matter what cuts the
// answer, be it a handler that panics, a backend that breaks off, a client that
// reads too slowly, or the end of the process. conn.go asks for it (askReset), and
// transport.go tells the kernel.

// endsWithConnection says whether w is such an answer. Its head has been rendered.
func (w *Response) endsWithConnection() bool { return !w.sized && !w.chunked && !w.bodiless() }
