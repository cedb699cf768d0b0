package http2

import "encoding/binary"

// A SettingID names a setting (RFC 9113 §6.5.2). A peer may send others, which a
// receiver ignores.
type SettingID uint16

const (
	SettingHeaderTableSize      SettingID = iota + 1 // bytes of the dynamic table with which the peer may encode; at first 4,096
	SettingEnablePush                                // 0 or 1; a server sends 0 or nothing
	SettingMaxConcurrentStreams                      // how many streams the peer may have open; at first unlimited
	SettingInitialWindowSize                         // bytes of DATA that the peer may send on a new stream; at first DefaultWindow
	SettingMaxFrameSize                              // bytes of a payload that the peer may send; at first DefaultMaxFrame
	SettingMaxHeaderListSize                         // bytes of a list of fields, as Decoder counts them; advice
)

// A Setting is one parameter of a SETTINGS frame. It binds the peer of its sender.
type Setting struct {
	ID    SettingID
	Value uint32
}

const settingLen = 6 // bytes

var (
	errPush          = &ConnError{ProtocolError, "a server sends SETTINGS_ENABLE_PUSH other than 0"}
	errInitialWindow = &ConnError{FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE is above 2^31-1"}
	errMaxFrame      = &ConnError{ProtocolError, "SETTINGS_MAX_FRAME_SIZE is not between 2^14 and 2^24-1"}
)

// EachSetting yields the settings of a SETTINGS frame in their order, in which they
// must be applied (§6.5.3):
//
//	for id, value := range f.EachSetting {
func (f Frame) EachSetting(yield func(id SettingID, value uint32) bool) {
	for b := f.Payload; len(b) >= settingLen; b = b[settingLen:] {
		if !yield(SettingID(binary.BigEndian.Uint16(b)), binary.BigEndian.Uint32(b[2:])) {
			return
		}
	}
}

// checkSettings refuses values that no server may send.
func (f Frame) checkSettings() *ConnError {
	for id, value := range f.EachSetting {
		switch {
		case id == SettingEnablePush && value != 0:
			return errPush
		case id == SettingInitialWindowSize && value > MaxWindow:
			return errInitialWindow
		case id == SettingMaxFrameSize && (value < DefaultMaxFrame || value > largestFrame):
			return errMaxFrame
		}
	}
	return nil
}
