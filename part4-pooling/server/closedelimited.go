package server

// A response with neither a Content-Length nor chunked coding ends when its connection
// does (RFC 9112 §6.3); an HTTP/1.0 client knows no other way to stream. Such a client
// takes a FIN in the middle for the end of the response, so a truncated response must
// end in a reset. The server sets SO_LINGER with a timeout of 0 (socket(7)) when such a
// response begins, and clears it when the response is complete. Then any close in
// between sends RST, whatever causes it: a handler that panics, a backend that
// disconnects, a client that reads too slowly, or the end of the process. conn.go asks
// for it (actionResetOnClose), and transport.go calls setsockopt.

// isCloseDelimited reports whether only the end of the connection ends w. Valid once the
// head has been rendered.
func (w *Response) isCloseDelimited() bool { return !w.hasLength && !w.chunked && !w.bodiless() }
