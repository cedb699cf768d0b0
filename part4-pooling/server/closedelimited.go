package server

// A response without a length that is not in chunks ends where its connection
// ends (RFC 9112 §6.3): all that a client of HTTP/1.0 knows. To that client a
// close in the middle is the end of a whole response, so a cut must be a reset. The
// kernel is told when such a response begins, and told otherwise when it is whole
// (SO_LINGER with a time of 0, socket(7)): then it does not matter what cuts the
// response, be it a handler that panics, a backend that breaks off, a client that
// reads too slowly, or the end of the process. conn.go actions for it (actionResetOnClose), and
// transport.go tells the kernel.

// isCloseDelimited says whether w is such a response. Its head has been rendered.
func (w *Response) isCloseDelimited() bool { return !w.hasLength && !w.chunked && !w.bodiless() }
