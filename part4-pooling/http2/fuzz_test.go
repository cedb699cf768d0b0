package http2

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/http1"
)

// A parsed frame written again parses to the same frame, whatever padding and priority
// it had; and no cut of its bytes parses to another one.
func FuzzParseFrame(f *testing.F) {
	f.Add(AppendSettings(nil, Setting{SettingMaxFrameSize, 1 << 20}))
	f.Add(AppendGoAway(nil, 7, EnhanceYourCalm, "too much"))
	f.Add(frame(FrameHeaders, FlagPadded|FlagPriority, 1, "\x0212345block\x00\x00"))
	f.Add(frame(FrameData, FlagPadded, 1, "\x05hello"))
	f.Add(frame(FrameWindowUpdate, 0, 0, "\x00\x00\x00\x00"))
	f.Add(frame(99, 0xff, 1<<31-1, "?"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, n, refused := ParseFrame(in, DefaultMaxFrame)
		for cut := range min(len(in), 40) {
			early, m, why := ParseFrame(in[:cut], DefaultMaxFrame)
			switch {
			case why != nil:
				require.Equal(t, refused, why, "the first %d bytes are refused, and all are not", cut)
			case m > 0:
				require.Equal(t, got, early, "a frame in the first %d bytes", cut)
			}
		}
		if n == 0 || refused != nil {
			require.Zero(t, n)
			return
		}

		require.Equal(t, FrameHeaderLen+got.Length, n)
		flags := got.Flags
		if got.Type == FrameData || got.Type == FrameHeaders || got.Type == FramePushPromise {
			flags &^= FlagPadded
		}
		if got.Type == FrameHeaders {
			flags &^= FlagPriority
		}
		again, _, refused := ParseFrame(frame(got.Type, flags, got.StreamID, string(got.Payload)), DefaultMaxFrame)
		require.Nil(t, refused)
		require.Equal(t, got.Payload, again.Payload)
		require.Equal(t, got.StreamID, again.StreamID)

		switch got.Type {
		case FrameRSTStream:
			got.Code()
		case FrameWindowUpdate:
			got.WindowIncrement()
		case FrameGoAway:
			got.LastStreamAndCode()
		}
	})
}

// What ParseResponseHead accepts, http1 reads alike once a gateway has written it as
// HTTP/1.1: no field ends early, and none moves the end of the response.
func FuzzParseResponseHead(f *testing.F) {
	f.Add("200", "content-length", "5", "a", "b", false)
	f.Add("204", "content-length", "5", "content-length", "5", false)
	f.Add("304", "x", "a\r\nb: c", "y:", "d", true)
	f.Add("101", "upgrade", "h2c", "transfer-encoding", "chunked", false)
	f.Fuzz(func(t *testing.T, status, name, value, name2, value2 string, toHEAD bool) {
		var got, want http1.ResponseHead
		if ParseResponseHead(&got, fields(":status", status, name, value, name2, value2), toHEAD) != nil {
			return
		}
		method := "GET"
		if toHEAD {
			method = "HEAD"
		}
		head := "HTTP/1.1 " + status + " \r\n" + name + ": " + value + "\r\n" + name2 + ":" + value2 + "\r\n\r\n"
		require.Equal(t, len(head), http1.HeadLength([]byte(head), 0))
		require.NoError(t, want.Parse([]byte(head), []byte(method)))
		require.Equal(t, want.Status, got.Status)
		require.Equal(t, text(want.Fields), text(got.Fields))
		require.Equal(t, want.ContentLength, got.ContentLength)
		if want.Length == http1.UntilClose { // which END_STREAM says in HTTP/2
			want.Length = http1.Chunked
		}
		require.Equal(t, want.Length, got.Length)
	})
}

// Decode keeps within its bounds, and what it returns survives our encoder.
func FuzzDecode(f *testing.F) {
	for _, block := range heads() {
		f.Add(block, block, uint16(0))
		f.Add(block, []byte{0xbe, 0xbf, 0xc0}, uint16(4096))
	}
	f.Add([]byte{0x3f, 0xe1, 0x1f, 0x82}, []byte{0x20, 0x40, 1, 'a', 1, 'b'}, uint16(64))
	f.Fuzz(func(t *testing.T, one, two []byte, tableSize uint16) {
		const listSize = 1000
		d := NewDecoder(int(tableSize), listSize)
		for _, block := range [][]byte{one, two, two} {
			kept := fields("kept", "")
			list, refused := d.Decode(bytes.Clone(block), kept)
			require.Equal(t, kept[0], list[0])
			require.LessOrEqual(t, len(d.arena), len(block)*8/5)
			require.LessOrEqual(t, d.table.size, int(tableSize))
			size, listed := 0, 0
			for _, f := range d.table.fields {
				size += fieldSize(f)
			}
			require.Equal(t, d.table.size, size)
			for _, f := range list[1:] {
				listed += fieldSize(f)
			}
			require.LessOrEqual(t, listed, listSize)
			if refused != nil {
				require.Equal(t, CompressionError, refused.Code)
				require.Len(t, list, 1)
				return
			}
			checkEncoding(t, list)
			var h http1.ResponseHead
			_ = ParseResponseHead(&h, list[1:], false)
		}
	})
}

// checkEncoding encodes list and decodes it again.
func checkEncoding(t *testing.T, list []http1.Field) {
	var block []byte
	for _, f := range list {
		block = AppendField(block, f.Name, f.Value)
	}
	again, refused := NewDecoder(0, 2000).Decode(block, nil)
	require.Nil(t, refused)
	require.Equal(t, text(list), text(again))
}
