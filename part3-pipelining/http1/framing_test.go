package http1

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// decodeAll feeds text to a decoder in pieces of n bytes, and returns the body and
// the bytes after it.
func decodeAll(d BodyDecoder, text string, n int) (body, rest string, refused *StatusError) {
	in := ""
	for d.state != bodyEnd && refused == nil {
		piece, used, why := d.Decode([]byte(in), 1<<20)
		body, in, refused = body+string(piece), in[used:], why
		if used == 0 && refused == nil {
			if text == "" {
				return body, in, ErrBodyTruncated
			}
			in, text = in+text[:min(n, len(text))], text[min(n, len(text)):]
		}
	}
	return body, in + text, refused
}

func TestBodyDecoderFindsTheEndHoweverItIsFragmented(t *testing.T) {
	for text, body := range map[string]string{
		"0\r\n\r\n":               "",
		"5\r\nhello\r\n0\r\n\r\n": "hello",
		"1\r\na\r\n2;x=y\r\nbc\r\n0\r\nA: b\r\nC: d\r\n\r\n": "abc",
		"00b ; x\r\n0123456789a\r\n000\r\n\r\n":              "0123456789a",
	} {
		for n := 1; n <= len(text); n++ {
			f, refused := NewBodyDecoder(Chunked, 100, 1000)
			require.Nil(t, refused)
			got, rest, refused := decodeAll(f, text+"GET", n)
			require.Nil(t, refused, "%q in pieces of %d", text, n)
			require.Equal(t, body, got, "%q in pieces of %d", text, n)
			require.Equal(t, "GET", rest, "%q in pieces of %d", text, n)
		}
	}
}

func TestTrailersAreNotMergedIntoTheHead(t *testing.T) {
	f, _ := NewBodyDecoder(Chunked, 100, 1000)
	for text := []byte("0\r\nHost: evil\r\nContent-Length: 99\r\n\r\n"); f.state != bodyEnd; {
		_, used, refused := f.Decode(text, 100)
		require.Nil(t, refused)
		text = text[used:]
	}
	require.Len(t, f.Trailers, 2)
	assert.Equal(t, "evil", string(f.Trailers[0].Value), "in the trailers, not in the head")
}

func TestBodyDecoderIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want *StatusError
	}{
		"body":              {"65\r\n", errBodyTooLong},
		"many chunks":       {strings.Repeat("1\r\na\r\n", 101), errBodyTooLong},
		"2^60":              {"1000000000000000\r\n", errBodyTooLong},
		"2^64+1":            {"10000000000000001\r\n", errBodyTooLong},
		"long extension":    {"1;" + strings.Repeat("a", 300), errChunk},
		"trailers":          {"0\r\nA: " + strings.Repeat("a", 1000), errHeadTooLong},
		"trailers, ended":   {"0\r\nA: " + strings.Repeat("a", 1000) + "\r\n\r\n", errHeadTooLong},
		"number of them":    {"0\r\n" + strings.Repeat("A: b\r\n", maxTrailerFields+1) + "\r\n", errTooManyFields},
		"bare LF in them":   {"0\r\nA: b\nC", errLineEnding},
		"ends in a chunk":   {"5\r\nhel", ErrBodyTruncated},
		"ends before the 0": {"5\r\nhello\r\n", ErrBodyTruncated},
	} {
		f, _ := NewBodyDecoder(Chunked, 100, 1000)
		_, _, refused := decodeAll(f, c.text, len(c.text))
		assert.Equal(t, c.want, refused, name)
	}
	_, refused := NewBodyDecoder(101, 100, 0)
	assert.Equal(t, errBodyTooLong, refused)
}

// Each chunk line is short enough, but all of them together are not: the framing
// must not multiply what the limit of the body allows.
func TestChunkExtensionsAreBoundedInTotal(t *testing.T) {
	const data, long = 100_000, 250 // chunks of one byte, bytes of extension
	read := func(line string, chunks int) (wire int, refused *StatusError) {
		f, _ := NewBodyDecoder(Chunked, data, 1000)
		for range chunks {
			text := line + "\r\na\r\n"
			for text != "" && refused == nil {
				var used int
				_, used, refused = f.Decode([]byte(text), data)
				text, wire = text[used:], wire+used
			}
		}
		return wire, refused
	}

	wire, refused := read("1;"+strings.Repeat("e", long), data)
	assert.Equal(t, errChunkOverhead, refused, "house rule: the extensions of a body are bounded in all, not only each (framing.go, nextChunkSize); %d bytes were read", wire)
	assert.Less(t, wire, 2*maxChunkOverhead)

	_, refused = read("1", data)
	assert.Nil(t, refused, "chunks of one byte are wasteful, not wrong")
	_, refused = read("1;sig=0123456789", data) // a short one each is what extensions are for
	assert.Nil(t, refused, "a short extension on every chunk is allowed")
	_, refused = read("1;"+strings.Repeat("e", long), 60)
	assert.Nil(t, refused, "a few long ones are allowed")
}
