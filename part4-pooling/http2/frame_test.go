package http2

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// frame renders a frame with any header and payload, right or wrong.
func frame(t FrameType, flags Flags, id uint32, payload string) []byte {
	return append(AppendFrameHeader(nil, len(payload), t, flags, id), payload...)
}

func setting(id SettingID, value uint32) string {
	return string(AppendSettings(nil, Setting{id, value})[FrameHeaderLen:])
}

func TestFramesAreParsedHoweverTheyAreCut(t *testing.T) {
	padded := strings.Repeat("\x00", 3)
	for name, c := range map[string]struct {
		in      []byte
		payload string
		length  int
	}{
		"DATA":                           {frame(FrameData, FlagEndStream, 1, "hello"), "hello", 5},
		"DATA, empty":                    {frame(FrameData, FlagEndStream, 1, ""), "", 0},
		"DATA, padded":                   {frame(FrameData, FlagPadded, 1, "\x03hello"+padded), "hello", 9},
		"DATA, padded with 0":            {frame(FrameData, FlagPadded, 1, "\x00hello"), "hello", 6},
		"DATA, padding alone":            {frame(FrameData, FlagPadded, 1, "\x03"+padded), "", 4},
		"DATA, the flag of priority":     {frame(FrameData, FlagPriority, 1, "hello"), "hello", 5},
		"HEADERS":                        {frame(FrameHeaders, FlagEndHeaders, 3, "block"), "block", 5},
		"HEADERS, with priority":         {frame(FrameHeaders, FlagPriority, 3, "12345block"), "block", 10},
		"HEADERS, padded, with priority": {frame(FrameHeaders, FlagPadded|FlagPriority, 3, "\x0312345block"+padded), "block", 14},
		"HEADERS, nothing but priority":  {frame(FrameHeaders, FlagPriority, 3, "12345"), "", 5},
		"PRIORITY, of any length":        {frame(FramePriority, 0, 3, "123"), "123", 3},
		"PUSH_PROMISE, padded":           {frame(FramePushPromise, FlagPadded, 1, "\x03\x00\x00\x00\x02block"+padded), "\x00\x00\x00\x02block", 13},
		"CONTINUATION, flag of padding":  {frame(FrameContinuation, FlagPadded, 3, "\xffblock"), "\xffblock", 6},
		"SETTINGS":                       {AppendSettings(nil, Setting{SettingEnablePush, 0}, Setting{99, 1 << 31}), setting(SettingEnablePush, 0) + setting(99, 1<<31), 12},
		"PING":                           {frame(FramePing, 0, 0, "12345678"), "12345678", 8},
		"an unknown type, no stream":     {frame(77, 0xff, 0, "anything"), "anything", 8},
		"an unknown type, a stream":      {frame(77, 0xff, 5, ""), "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			for cut := range len(c.in) {
				_, n, refused := ParseFrame(c.in[:cut], DefaultMaxFrame)
				require.Nil(t, refused)
				require.Zero(t, n, "%d of %d bytes are no frame yet", cut, len(c.in))
			}
			f, n, refused := ParseFrame(append(c.in, "next"...), DefaultMaxFrame)
			require.Nil(t, refused)
			assert.Equal(t, len(c.in), n)
			assert.Equal(t, c.payload, string(f.Payload))
			assert.Equal(t, c.length, f.Length, "flow control counts the padding")
		})
	}
}

func TestConnectionErrorsOfRFC9113(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		want *ConnError
	}{
		"§4.2 longer than allowed":       {frame(FrameData, 0, 1, strings.Repeat("a", DefaultMaxFrame+1)), errFrameTooLong},
		"§4.2 unknown and too long":      {frame(77, 0, 1, strings.Repeat("a", DefaultMaxFrame+1)), errFrameTooLong},
		"HTTP/1.1":                       {[]byte("HTTP/1.1 400 Bad Request\r\n"), errFrameTooLong},
		"§6.1 DATA without a stream":     {frame(FrameData, 0, 0, "hello"), errNeedsStream},
		"§6.1 DATA, padded, no length":   {frame(FrameData, FlagPadded, 1, ""), errFrameSize},
		"§6.1 DATA, padding = payload":   {frame(FrameData, FlagPadded, 1, "\x06hello"), errPadding},
		"§6.1 DATA, nothing but padding": {frame(FrameData, FlagPadded, 1, "\x01"), errPadding},
		"§6.2 HEADERS without a stream":  {frame(FrameHeaders, 0, 0, ""), errNeedsStream},
		"§6.2 HEADERS, cut priority":     {frame(FrameHeaders, FlagPriority, 1, "1234"), errFrameSize},
		"§6.2 HEADERS, padded as well":   {frame(FrameHeaders, FlagPriority|FlagPadded, 1, "\x001234"), errFrameSize},
		"§6.2 HEADERS, padding too long": {frame(FrameHeaders, FlagPriority|FlagPadded, 1, "\x0112345"), errPadding},
		"§6.3 PRIORITY without a stream": {frame(FramePriority, 0, 0, "12345"), errNeedsStream},
		"§6.4 RST_STREAM, no stream":     {frame(FrameRSTStream, 0, 0, "1234"), errNeedsStream},
		"§6.4 RST_STREAM of 3 bytes":     {frame(FrameRSTStream, 0, 1, "123"), errFrameSize},
		"§6.4 RST_STREAM of 5 bytes":     {frame(FrameRSTStream, 0, 1, "12345"), errFrameSize},
		"§6.5 SETTINGS on a stream":      {frame(FrameSettings, 0, 1, ""), errNeedsNoStream},
		"§6.5 SETTINGS of 7 bytes":       {frame(FrameSettings, 0, 0, "1234567"), errFrameSize},
		"§6.5 SETTINGS ACK, payload":     {frame(FrameSettings, FlagAck, 0, setting(99, 1)), errFrameSize},
		"§6.5.2 push 1":                  {frame(FrameSettings, 0, 0, setting(SettingEnablePush, 1)), errPush},
		"§6.5.2 push 2, second":          {frame(FrameSettings, 0, 0, setting(99, 1)+setting(SettingEnablePush, 2)), errPush},
		"§6.5.2 window of 2^31":          {frame(FrameSettings, 0, 0, setting(SettingInitialWindowSize, 1<<31)), errInitialWindow},
		"§6.5.2 frames of 2^14-1":        {frame(FrameSettings, 0, 0, setting(SettingMaxFrameSize, 1<<14-1)), errMaxFrame},
		"§6.5.2 frames of 2^24":          {frame(FrameSettings, 0, 0, setting(SettingMaxFrameSize, 1<<24)), errMaxFrame},
		"§6.6 PUSH_PROMISE, no stream":   {frame(FramePushPromise, 0, 0, "1234"), errNeedsStream},
		"§6.6 PUSH_PROMISE of 3 bytes":   {frame(FramePushPromise, 0, 1, "123"), errFrameSize},
		"§6.6 PUSH_PROMISE, all padding": {frame(FramePushPromise, FlagPadded, 1, "\x011234"), errPadding},
		"§6.7 PING on a stream":          {frame(FramePing, 0, 1, "12345678"), errNeedsNoStream},
		"§6.7 PING of 7 bytes":           {frame(FramePing, 0, 0, "1234567"), errFrameSize},
		"§6.8 GOAWAY on a stream":        {frame(FrameGoAway, 0, 1, "12345678"), errNeedsNoStream},
		"§6.8 GOAWAY of 7 bytes":         {frame(FrameGoAway, 0, 0, "1234567"), errFrameSize},
		"§6.9 WINDOW_UPDATE of 5 bytes":  {frame(FrameWindowUpdate, 0, 0, "12345"), errFrameSize},
		"§6.9 the connection by 0":       {frame(FrameWindowUpdate, 0, 0, "\x80\x00\x00\x00"), errZeroIncrement},
		"§6.10 CONTINUATION, no stream":  {frame(FrameContinuation, 0, 0, ""), errNeedsStream},
	} {
		_, n, refused := ParseFrame(c.in, DefaultMaxFrame)
		assert.Equal(t, c.want, refused, name)
		assert.Zero(t, n, name)
		if c.want == errFrameTooLong || c.want == errFrameSize || c.want == errNeedsStream || c.want == errNeedsNoStream {
			_, _, refused = ParseFrame(c.in[:FrameHeaderLen], DefaultMaxFrame)
			assert.Equal(t, c.want, refused, "%s: the header alone says so", name)
		}
	}
}

func TestLargestAndSmallestSettingsAreValid(t *testing.T) {
	in := AppendSettings(nil, Setting{SettingEnablePush, 0}, Setting{SettingInitialWindowSize, MaxWindow}, Setting{SettingMaxFrameSize, 1 << 14},
		Setting{SettingMaxFrameSize, 1<<24 - 1}, Setting{SettingHeaderTableSize, 1<<32 - 1}, Setting{99, 1<<32 - 1})
	_, n, refused := ParseFrame(in, DefaultMaxFrame)
	assert.Nil(t, refused)
	assert.Equal(t, len(in), n)
}

func TestTheReservedBitIsIgnored(t *testing.T) {
	in := AppendGoAway(nil, 5|1<<31, RefusedStream, "why")
	in[5] |= 0x80
	f, _, refused := ParseFrame(in, DefaultMaxFrame)
	require.Nil(t, refused)
	assert.Zero(t, f.StreamID)
	last, code, debug := f.LastStreamAndCode()
	assert.Equal(t, "5 REFUSED_STREAM why", fmt.Sprintf("%d %v %s", last, code, debug))

	f, _, refused = ParseFrame(AppendWindowUpdate(nil, 7|1<<31, 9|1<<31), DefaultMaxFrame)
	require.Nil(t, refused)
	assert.EqualValues(t, 7, f.StreamID)
	assert.EqualValues(t, 9, f.WindowIncrement())
}

func TestAppendedFramesParse(t *testing.T) {
	parse := func(in []byte) Frame {
		f, n, refused := ParseFrame(in, DefaultMaxFrame)
		require.Nil(t, refused)
		require.Equal(t, len(in), n)
		return f
	}

	f := parse(AppendRSTStream(nil, 3, Cancel))
	assert.Equal(t, "RST_STREAM 3 CANCEL", fmt.Sprint(f.Type, " ", f.StreamID, " ", f.Code()))
	f = parse(AppendPing(nil, true, []byte("12345678")))
	assert.Equal(t, Frame{FramePing, FlagAck, 0, 8, []byte("12345678")}, f)
	f = parse(AppendPing(nil, false, []byte("12345678")))
	assert.Zero(t, f.Flags)
	assert.Equal(t, Frame{FrameSettings, FlagAck, 0, 0, []byte{}}, parse(AppendSettingsAck(nil)))

	f = parse(AppendSettings(nil, Setting{SettingMaxConcurrentStreams, 100}, Setting{99, 7}))
	var got []Setting
	for id, value := range f.EachSetting {
		got = append(got, Setting{id, value})
	}
	assert.Equal(t, []Setting{{SettingMaxConcurrentStreams, 100}, {99, 7}}, got)
	for range f.EachSetting {
		break // which must not panic
	}
}

func TestLongBlocksContinue(t *testing.T) {
	for _, c := range []struct {
		bytes int
		want  string
	}{
		{0, "HEADERS 0 5; "},
		{10, "HEADERS 10 5; "},
		{11, "HEADERS 10 1; CONTINUATION 1 4; "},
		{30, "HEADERS 10 1; CONTINUATION 10 0; CONTINUATION 10 4; "},
	} {
		block := bytes.Repeat([]byte("a"), c.bytes)
		got, joined := "", []byte{}
		for in := AppendHeaders(nil, 9, block, true, 10); len(in) > 0; {
			f, n, refused := ParseFrame(in, 10)
			require.Nil(t, refused)
			require.EqualValues(t, 9, f.StreamID)
			got += fmt.Sprintf("%v %d %d; ", f.Type, f.Length, f.Flags)
			joined, in = append(joined, f.Payload...), in[n:]
		}
		assert.Equal(t, c.want, got)
		assert.Equal(t, block, joined)
	}
}

func TestNamesAreTheRFCs(t *testing.T) {
	assert.Equal(t, "DATA", FrameData.String())
	assert.Equal(t, "CONTINUATION", FrameContinuation.String())
	assert.Equal(t, "frame type 10", FrameType(10).String())
	assert.Equal(t, "NO_ERROR", NoError.String())
	assert.Equal(t, "HTTP_1_1_REQUIRED", HTTP11Required.String())
	assert.EqualValues(t, 0xd, HTTP11Required)
	assert.Equal(t, "error code 4294967295", ErrorCode(1<<32-1).String())
	assert.Equal(t, "PROTOCOL_ERROR: the padding is as long as the frame", errPadding.Error())
}

func TestAFrameThatIsTooLongPanics(t *testing.T) {
	assert.Panics(t, func() { AppendFrameHeader(nil, 1<<24, FrameData, 0, 1) })
	assert.NotPanics(t, func() { AppendFrameHeader(nil, 1<<24-1, FrameData, 0, 1) })
}
