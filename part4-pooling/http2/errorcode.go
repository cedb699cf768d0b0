package http2

import "strconv"

// An ErrorCode says why a stream or a connection ends, in RST_STREAM and GOAWAY
// (RFC 9113 §7).
type ErrorCode uint32

const (
	NoError            ErrorCode = iota
	ProtocolError                // the peer broke a rule that has no code of its own
	InternalError                // the fault is the sender's
	FlowControlError             // more bytes than the window, or a window above MaxWindow
	SettingsTimeout              // a SETTINGS frame was not acknowledged in time
	StreamClosed                 // a frame for a stream that the peer had ended
	FrameSizeError               // a frame of a length that its type does not have
	RefusedStream                // nothing was done: the request is safe to retry (§8.7)
	Cancel                       // the stream is no longer needed
	CompressionError             // HPACK: the two dynamic tables differ from here on
	ConnectError                 // the connection that a CONNECT asked for failed
	EnhanceYourCalm              // the peer causes too much load
	InadequateSecurity           // TLS is below what HTTP/2 requires (§9.2)
	HTTP11Required               // repeat the request over HTTP/1.1
)

var errorNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
	"STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
	"CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// String returns the RFC's name, such as "PROTOCOL_ERROR", and a number for a code
// that the RFC does not define. A peer may send any (§7).
func (c ErrorCode) String() string {
	if int64(c) < int64(len(errorNames)) {
		return errorNames[c]
	}
	return "error code " + strconv.FormatUint(uint64(c), 10)
}

// A ConnError is a fault that makes the rest of the connection unusable (RFC 9113
// §5.4.1). Whoever meets one sends GOAWAY with its Code and closes the connection.
type ConnError struct {
	Code   ErrorCode
	Detail string // one clause, for a log and for GOAWAY's debug data
}

// Error returns a text such as "PROTOCOL_ERROR: the padding is as long as the frame".
func (e *ConnError) Error() string { return e.Code.String() + ": " + e.Detail }
