package http2

import "encoding/binary"

// The functions of this file append a frame to b, as append does, and return the
// extended slice. A client sends these; a server's differ in nothing but PUSH_PROMISE.

// AppendFrameHeader appends the header of a frame whose payload has length bytes. DATA
// is this header and then the bytes. It panics if length does not fit in three bytes.
func AppendFrameHeader(b []byte, length int, t FrameType, flags Flags, id uint32) []byte {
	if length < 0 || length > largestFrame {
		panic("http2: a frame that is too long")
	}
	return append(b, byte(length>>16), byte(length>>8), byte(length), byte(t), byte(flags),
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

// AppendSettings appends SETTINGS (RFC 9113 §6.5). A client's first frame after the
// Preface is one, with no settings if the defaults suit it.
func AppendSettings(b []byte, settings ...Setting) []byte {
	b = AppendFrameHeader(b, settingLen*len(settings), FrameSettings, 0, 0)
	for _, s := range settings {
		b = binary.BigEndian.AppendUint16(b, uint16(s.ID))
		b = binary.BigEndian.AppendUint32(b, s.Value)
	}
	return b
}

// AppendSettingsAck appends the response to SETTINGS, due once they are applied
// (§6.5.3).
func AppendSettingsAck(b []byte) []byte {
	return AppendFrameHeader(b, 0, FrameSettings, FlagAck, 0)
}

// AppendPing appends PING, or with ack the response to one, which returns its data
// (§6.7). Of data the first eight bytes are sent; it panics if there are fewer.
func AppendPing(b []byte, ack bool, data []byte) []byte {
	flags := Flags(0)
	if ack {
		flags = FlagAck
	}
	return append(AppendFrameHeader(b, 8, FramePing, flags, 0), data[:8]...)
}

// AppendWindowUpdate appends WINDOW_UPDATE: the peer may send n more bytes of DATA on
// stream id, or on the whole connection for id 0 (§6.9). n is 1 to MaxWindow.
func AppendWindowUpdate(b []byte, id, n uint32) []byte {
	return binary.BigEndian.AppendUint32(AppendFrameHeader(b, 4, FrameWindowUpdate, 0, id), n)
}

// AppendRSTStream appends RST_STREAM, which ends stream id in both directions (§6.4).
func AppendRSTStream(b []byte, id uint32, code ErrorCode) []byte {
	return binary.BigEndian.AppendUint32(AppendFrameHeader(b, 4, FrameRSTStream, 0, id), uint32(code))
}

// AppendGoAway appends GOAWAY, the last frame of a connection (§6.8). last is the
// last stream of the peer that this side acted on, for a client without push 0.
// detail is for the peer's log.
func AppendGoAway(b []byte, last uint32, code ErrorCode, detail string) []byte {
	b = AppendFrameHeader(b, 8+len(detail), FrameGoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	return append(b, detail...)
}

// AppendHeaders appends block, the encoded fields of a head or of trailers, as one
// HEADERS frame and as many CONTINUATION frames as it needs when no payload may have
// more than maxFrame bytes (§6.2, §6.10). No other frame may stand between them.
// endStream says that no body follows.
func AppendHeaders(b []byte, id uint32, block []byte, endStream bool, maxFrame int) []byte {
	t, flags := FrameHeaders, Flags(0)
	if endStream {
		flags = FlagEndStream
	}
	for len(block) > maxFrame {
		b = append(AppendFrameHeader(b, maxFrame, t, flags, id), block[:maxFrame]...)
		t, flags, block = FrameContinuation, 0, block[maxFrame:]
	}
	return append(AppendFrameHeader(b, len(block), t, flags|FlagEndHeaders, id), block...)
}
