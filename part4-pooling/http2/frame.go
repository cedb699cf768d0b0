package http2

import (
	"encoding/binary"
	"strconv"
)

const (
	// Preface is what a client sends first, followed by its SETTINGS (RFC 9113 §3.4).
	Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

	FrameHeaderLen  = 9         // bytes in front of every payload (§4.1)
	DefaultMaxFrame = 16384     // bytes of a payload, until SETTINGS_MAX_FRAME_SIZE says otherwise
	DefaultWindow   = 65535     // bytes of DATA that may be sent at first, on a stream and in all
	MaxWindow       = 1<<31 - 1 // bytes; no window may grow beyond (§6.9.1)

	largestFrame = 1<<24 - 1 // bytes of a payload: its length has three
	idMask       = 1<<31 - 1 // the first bit of a stream identifier is reserved (§4.1)
)

// FrameType is the type of a frame (RFC 9113 §6). A peer may send others, which a
// receiver ignores (§5.5).
type FrameType uint8

const (
	FrameData FrameType = iota
	FrameHeaders
	FramePriority // deprecated (§5.3.2)
	FrameRSTStream
	FrameSettings
	FramePushPromise
	FramePing
	FrameGoAway
	FrameWindowUpdate
	FrameContinuation
)

var frameNames = [...]string{
	"DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS",
	"PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION",
}

// String returns the RFC's name, such as "WINDOW_UPDATE", and a number for a type
// that the RFC does not define.
func (t FrameType) String() string {
	if int(t) < len(frameNames) {
		return frameNames[t]
	}
	return "frame type " + strconv.Itoa(int(t))
}

// Flags are the flags of a frame. Each belongs to a few types and means nothing on
// the others.
type Flags uint8

const (
	FlagEndStream  Flags = 1    // DATA, HEADERS: the sender's last frame on this stream
	FlagAck        Flags = 1    // SETTINGS, PING: the response to one
	FlagEndHeaders Flags = 4    // HEADERS, CONTINUATION: the block of fields is complete
	FlagPadded     Flags = 8    // DATA, HEADERS, PUSH_PROMISE: padding follows
	FlagPriority   Flags = 0x20 // HEADERS: five bytes of priority come first
)

// A Frame is a parsed frame. Its Payload is a part of the bytes passed to ParseFrame
// and valid only while those are.
type Frame struct {
	Type     FrameType
	Flags    Flags
	StreamID uint32 // 0 for the connection
	Length   int    // of the whole payload, padding included: what flow control counts (§6.9.1)
	Payload  []byte // without padding and priority
}

var (
	errFrameTooLong  = &ConnError{FrameSizeError, "the frame is longer than SETTINGS_MAX_FRAME_SIZE"}
	errFrameSize     = &ConnError{FrameSizeError, "the frame has a length that its type does not have"}
	errNeedsStream   = &ConnError{ProtocolError, "the frame needs a stream and names none"}
	errNeedsNoStream = &ConnError{ProtocolError, "the frame is about the connection and names a stream"}
	errPadding       = &ConnError{ProtocolError, "the padding is as long as the frame"}
	errZeroIncrement = &ConnError{ProtocolError, "the window of the connection grows by 0"}
)

// ParseFrame parses the frame at the beginning of b, which a server sent. n is how
// many bytes it has; n is 0 if b does not hold all of it. maxFrame is the
// SETTINGS_MAX_FRAME_SIZE that this side announced, or DefaultMaxFrame.
//
// The error is what RFC 9113 makes a connection error whatever came before: a wrong
// length, a stream where there is none or none where there is one, padding that leaves
// no room, a setting out of range. What the frame's header shows is refused before
// the payload has arrived. The caller decides what depends on the state, and these:
//
//   - an unknown type, which it ignores, and PRIORITY, whatever its length;
//   - WINDOW_UPDATE by 0 on a stream, a stream error (§6.9);
//   - PUSH_PROMISE, a connection error for a client that turned push off (§8.4).
//
// ParseFrame allocates nothing.
func ParseFrame(b []byte, maxFrame int) (f Frame, n int, refused *ConnError) {
	if len(b) < FrameHeaderLen {
		return Frame{}, 0, nil
	}
	f = Frame{
		Type:     FrameType(b[3]),
		Flags:    Flags(b[4]),
		StreamID: binary.BigEndian.Uint32(b[5:]) & idMask,
		Length:   int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
	}
	if f.Length > maxFrame {
		return Frame{}, 0, errFrameTooLong
	}
	if refused = f.checkHeader(); refused != nil {
		return Frame{}, 0, refused
	}
	if n = FrameHeaderLen + f.Length; len(b) < n {
		return Frame{}, 0, nil
	}
	f.Payload = b[FrameHeaderLen:n]
	switch f.Type {
	case FrameData, FrameHeaders, FramePushPromise:
		refused = f.strip()
	case FrameSettings:
		refused = f.checkSettings()
	case FrameWindowUpdate:
		if f.StreamID == 0 && f.WindowIncrement() == 0 {
			refused = errZeroIncrement
		}
	}
	if refused != nil {
		return Frame{}, 0, refused
	}
	return f, n, nil
}

// checkHeader checks the stream and the length against the type.
func (f *Frame) checkHeader() *ConnError {
	ok := true
	switch f.Type {
	case FrameData, FrameHeaders, FramePriority, FrameRSTStream, FramePushPromise, FrameContinuation:
		if f.StreamID == 0 {
			return errNeedsStream
		}
	case FrameSettings, FramePing, FrameGoAway:
		if f.StreamID != 0 {
			return errNeedsNoStream
		}
	}
	switch f.Type {
	case FrameData, FrameHeaders, FramePushPromise:
		ok = f.Length >= f.prefix()
	case FrameRSTStream, FrameWindowUpdate:
		ok = f.Length == 4
	case FrameSettings:
		ok = f.Length%settingLen == 0 && (f.Flags&FlagAck == 0 || f.Length == 0)
	case FramePing:
		ok = f.Length == 8
	case FrameGoAway:
		ok = f.Length >= 8
	}
	if !ok {
		return errFrameSize
	}
	return nil
}

const (
	priorityLen = 5 // bytes: a stream and a weight
	promisedLen = 4 // bytes: the promised stream
)

// prefix returns how many bytes f must have at least.
func (f *Frame) prefix() (n int) {
	if f.Flags&FlagPadded != 0 {
		n++
	}
	switch {
	case f.Type == FrameHeaders && f.Flags&FlagPriority != 0:
		n += priorityLen
	case f.Type == FramePushPromise:
		n += promisedLen
	}
	return n
}

// strip takes the padding and the priority off the payload (§6.1, §6.2).
func (f *Frame) strip() *ConnError {
	padding := 0
	if f.Flags&FlagPadded != 0 {
		padding, f.Payload = int(f.Payload[0]), f.Payload[1:]
	}
	if padding > f.Length-f.prefix() {
		return errPadding
	}
	if f.Type == FrameHeaders && f.Flags&FlagPriority != 0 {
		f.Payload = f.Payload[priorityLen:]
	}
	f.Payload = f.Payload[:len(f.Payload)-padding]
	return nil
}

// WindowIncrement returns by how many bytes a WINDOW_UPDATE widens its window (§6.9).
func (f Frame) WindowIncrement() uint32 { return binary.BigEndian.Uint32(f.Payload) & idMask }

// Code returns the error code of RST_STREAM (§6.4).
func (f Frame) Code() ErrorCode { return ErrorCode(binary.BigEndian.Uint32(f.Payload)) }

// LastStreamAndCode returns the content of GOAWAY (§6.8): the last stream that the
// server may have acted on, why the connection ends, and a text for people, a part of
// the payload. A request on a later stream is safe to send again.
func (f Frame) LastStreamAndCode() (last uint32, code ErrorCode, debug []byte) {
	return binary.BigEndian.Uint32(f.Payload) & idMask, ErrorCode(binary.BigEndian.Uint32(f.Payload[4:])), f.Payload[8:]
}
