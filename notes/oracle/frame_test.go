package oracle

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	xhttp2 "golang.org/x/net/http2"

	"socketup/part4-pooling/http2"
)

// checkFrame parses a complete frame with both parsers. They must refuse it with the
// same code, or return the same.
//
// They differ in this, and only in this:
//   - PRIORITY of a wrong length is a connection error there and nothing here: RFC 9113
//     §6.3 makes it a stream error, and the frame means nothing any more;
//   - WINDOW_UPDATE by 0 on a stream is a stream error there, and here the caller's;
//   - padding as long as HEADERS is a stream error there. §6.2 makes it a connection
//     error, and so does the lost block of fields;
//   - SETTINGS_ENABLE_PUSH is a server's there, which may read 1. From a server it may
//     not be (§6.5.2);
//   - their type for a payload that is too short for its padding or priority is
//     io.ErrUnexpectedEOF, without a code;
//   - of two faults in one frame each may report another;
//   - PRIORITY_UPDATE (RFC 9218), which a server never sends, is of no known type here.
func checkFrame(t *testing.T, kind http2.FrameType, flags http2.Flags, id uint32, payload []byte) {
	in := append(http2.AppendFrameHeader(nil, len(payload), kind, flags, id), payload...)
	framer := xhttp2.NewFramer(io.Discard, bytes.NewReader(in))
	framer.SetMaxReadFrameSize(http2.DefaultMaxFrame)
	framer.AllowIllegalReads = true // of one frame after another: the caller of ours checks that

	got, n, refused := http2.ParseFrame(in, http2.DefaultMaxFrame)
	want, err := framer.ReadFrame()
	if settings, ok := want.(*xhttp2.SettingsFrame); ok && err == nil {
		err = settings.ForeachSetting(func(s xhttp2.Setting) error {
			if s.ID == xhttp2.SettingEnablePush && s.Val == 1 {
				return xhttp2.ConnectionError(xhttp2.ErrCodeProtocol)
			}
			if s.ID == xhttp2.SettingEnableConnectProtocol {
				return nil // RFC 8441, which this client does not use
			}
			return s.Valid()
		})
	}

	if len(payload) <= http2.DefaultMaxFrame && (kind == http2.FramePriority && id != 0 || kind == 0x10) {
		require.Nil(t, refused)
		return
	}
	if code, stream := codeOf(t, err); err != nil && !(stream && kind == http2.FrameWindowUpdate) {
		require.NotNil(t, refused, "%v: %v", kind, err)
		if !hasTwoFaults(kind, refused) {
			require.Equal(t, code, refused.Code, "%v %x: %v, and %v", kind, in, err, refused)
		}
		return
	}
	require.Nil(t, refused, "%v %x: theirs accepts", kind, in)
	require.Equal(t, len(in), n)
	require.Equal(t, len(payload), got.Length)
	if err == nil {
		require.EqualValues(t, want.Header().StreamID, got.StreamID)
		compare(t, want, got)
	}
}

// hasTwoFaults reports whether a frame that ours refused may have another fault that
// theirs looks for first: a length, where ours names the stream, or a setting.
func hasTwoFaults(kind http2.FrameType, refused *http2.ConnError) bool {
	return strings.Contains(refused.Detail, "stream") || kind == http2.FrameSettings && refused.Code != http2.FrameSizeError
}

// codeOf returns the code of their error, and whether it is one of a stream.
func codeOf(t *testing.T, err error) (code http2.ErrorCode, stream bool) {
	var connection xhttp2.ConnectionError
	var ofStream xhttp2.StreamError
	switch {
	case err == nil:
	case errors.As(err, &connection):
		return http2.ErrorCode(connection), false
	case errors.As(err, &ofStream):
		return http2.ErrorCode(ofStream.Code), true
	case errors.Is(err, xhttp2.ErrFrameTooLarge), errors.Is(err, io.ErrUnexpectedEOF):
		return http2.FrameSizeError, false
	default:
		t.Fatalf("an error of no known kind: %v", err)
	}
	return 0, false
}

// compare wants the same content in both frames.
func compare(t *testing.T, want xhttp2.Frame, got http2.Frame) {
	switch want := want.(type) {
	case *xhttp2.DataFrame:
		require.True(t, bytes.Equal(want.Data(), got.Payload))
		require.Equal(t, want.StreamEnded(), got.Flags&http2.FlagEndStream != 0)
	case *xhttp2.HeadersFrame:
		require.True(t, bytes.Equal(want.HeaderBlockFragment(), got.Payload))
		require.Equal(t, want.StreamEnded(), got.Flags&http2.FlagEndStream != 0)
		require.Equal(t, want.HeadersEnded(), got.Flags&http2.FlagEndHeaders != 0)
	case *xhttp2.ContinuationFrame:
		require.True(t, bytes.Equal(want.HeaderBlockFragment(), got.Payload))
		require.Equal(t, want.HeadersEnded(), got.Flags&http2.FlagEndHeaders != 0)
	case *xhttp2.PushPromiseFrame:
		require.True(t, bytes.Equal(want.HeaderBlockFragment(), got.Payload[4:]))
	case *xhttp2.RSTStreamFrame:
		require.EqualValues(t, want.ErrCode, got.Code())
	case *xhttp2.PingFrame:
		require.Equal(t, want.Data[:], got.Payload)
		require.Equal(t, want.IsAck(), got.Flags&http2.FlagAck != 0)
	case *xhttp2.WindowUpdateFrame:
		require.Equal(t, want.Increment, got.WindowIncrement())
	case *xhttp2.GoAwayFrame:
		last, code, debug := got.LastStreamAndCode()
		require.Equal(t, want.LastStreamID, last)
		require.EqualValues(t, want.ErrCode, code)
		require.True(t, bytes.Equal(want.DebugData(), debug))
	case *xhttp2.SettingsFrame:
		require.Equal(t, want.IsAck(), got.Flags&http2.FlagAck != 0)
		i := 0
		for id, value := range got.EachSetting {
			require.Equal(t, want.Setting(i), xhttp2.Setting{ID: xhttp2.SettingID(id), Val: value})
			i++
		}
		require.Equal(t, want.NumSettings(), i)
	}
}

func TestBothParsersAgreeOnRandomFrames(t *testing.T) {
	lengths := []int{0, 1, 3, 4, 5, 6, 7, 8, 9, 12, 20, http2.DefaultMaxFrame, http2.DefaultMaxFrame + 1}
	for seed := range uint64(50_000) {
		r := rand.New(rand.NewPCG(seed, 3))
		size := lengths[r.IntN(len(lengths)-2)]
		if r.IntN(500) == 0 {
			size = lengths[len(lengths)-1-r.IntN(2)]
		}
		payload := make([]byte, size)
		for i := range payload {
			payload[i] = byte(r.IntN(4) * r.IntN(256) / 3 * r.IntN(2)) // half of them 0
		}
		if len(payload) > 0 && r.IntN(2) == 0 {
			payload[0] = byte(r.IntN(12)) // padding
		}
		if len(payload) > 5 && r.IntN(2) == 0 {
			payload[0], payload[1] = 0, byte(1+r.IntN(6)) // a known setting
		}
		flags := []http2.Flags{0, 1, 4, 8, 0x20, 0x28, 0x2d, 0xff}[r.IntN(8)]
		checkFrame(t, http2.FrameType(r.IntN(18)), flags, uint32(r.IntN(3)), payload)
	}
}

// What we append, their parser reads.
func TestTheirParserReadsOurFrames(t *testing.T) {
	block := bytes.Repeat([]byte("b"), 40_000)
	in := http2.AppendSettings(nil, http2.Setting{ID: http2.SettingHeaderTableSize}, http2.Setting{ID: http2.SettingEnablePush})
	in = http2.AppendSettingsAck(in)
	in = http2.AppendPing(in, true, []byte("12345678"))
	in = http2.AppendWindowUpdate(in, 3, http2.MaxWindow)
	in = http2.AppendRSTStream(in, 3, http2.Cancel)
	in = http2.AppendHeaders(in, 5, block, true, http2.DefaultMaxFrame)
	in = append(http2.AppendFrameHeader(in, 5, http2.FrameData, http2.FlagEndStream, 7), "hello"...)
	in = http2.AppendGoAway(in, 9, http2.EnhanceYourCalm, "why")

	framer, kinds := xhttp2.NewFramer(io.Discard, bytes.NewReader(in)), ""
	for {
		f, err := framer.ReadFrame() // which checks that nothing divides HEADERS from CONTINUATION
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		kinds += f.Header().Type.String() + " "
		got, n, refused := http2.ParseFrame(in, http2.DefaultMaxFrame)
		require.Nil(t, refused)
		require.Equal(t, f.Header().Type.String(), got.Type.String())
		compare(t, f, got)
		in = in[n:]
	}
	require.Equal(t, "SETTINGS SETTINGS PING WINDOW_UPDATE RST_STREAM HEADERS CONTINUATION CONTINUATION DATA GOAWAY ", kinds)
}

func TestBothUseTheSameNames(t *testing.T) {
	for code := range http2.ErrorCode(14) {
		require.Equal(t, xhttp2.ErrCode(code).String(), code.String())
	}
}

func FuzzBothParsersAgree(f *testing.F) {
	f.Add(uint8(0), uint8(8), uint32(1), []byte("\x03hello   "))
	f.Add(uint8(1), uint8(0x28), uint32(1), []byte("\x0312345hello   "))
	f.Add(uint8(4), uint8(0), uint32(0), []byte("\x00\x05\x00\x00\x40\x00"))
	f.Add(uint8(5), uint8(8), uint32(1), []byte("\x011234"))
	f.Add(uint8(7), uint8(0), uint32(0), []byte("12345678why"))
	f.Fuzz(func(t *testing.T, kind, flags uint8, id uint32, payload []byte) {
		checkFrame(t, http2.FrameType(kind), http2.Flags(flags), id, payload[:min(len(payload), http2.DefaultMaxFrame+1)])
	})
}
