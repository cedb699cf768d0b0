package http2

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEveryByteSurvivesItsHuffmanCode(t *testing.T) {
	var all []byte
	for c := range 256 {
		one := []byte{byte(c)}
		got, ok := appendHuffmanDecoded(nil, huffmanEncode(one))
		require.True(t, ok, "byte %d", c)
		require.Equal(t, one, got, "byte %d", c)
		all = append(all, byte(c), byte(255-c), 'a')
	}
	got, ok := appendHuffmanDecoded([]byte("kept "), huffmanEncode(all))
	require.True(t, ok)
	assert.Equal(t, "kept "+string(all), string(got))
}

// The decoder writes two bytes at a time, also where only one has room.
func TestAStringFillsItsBuffer(t *testing.T) {
	for n := range 10 {
		text := strings.Repeat("0", n)
		got, ok := appendHuffmanDecoded(make([]byte, 0, n), huffmanEncode([]byte(text)))
		assert.True(t, ok)
		assert.Equal(t, text, string(got))
	}
}

func TestHuffmanStringsEndInAtMostSevenOnes(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		want string
		ok   bool
	}{
		"nothing":                     {nil, "", true},
		"no padding":                  {[]byte{0b11111000}, "&", true},
		"three ones":                  {[]byte{0b00011_111}, "a", true},
		"three bits, not ones":        {[]byte{0b00011_110}, "", false},
		"zeros":                       {[]byte{0b00011_000}, "", false},
		"eight ones":                  {[]byte{0b11111000, 0xff}, "", false},
		"nothing and eight ones":      {[]byte{0xff}, "", false},
		"the beginning of EOS":        {[]byte{0xff, 0xff, 0xff}, "", false},
		"EOS and two ones":            {[]byte{0xff, 0xff, 0xff, 0xff}, "", false},
		"EOS between two codes":       {[]byte{0xff, 0xff, 0xff, 0xfc, 0b00011_111}, "", false},
		"half a code of fifteen bits": {[]byte{0b11111111}, "", false},
	} {
		got, ok := appendHuffmanDecoded(nil, c.in)
		assert.Equal(t, c.ok, ok, name)
		if ok {
			assert.Equal(t, c.want, string(got), name)
		}
	}

	// A code of 25 bits leaves seven bits of four bytes.
	seven := huffmanEncode([]byte{0xc7})
	require.Len(t, seven, 4)
	require.EqualValues(t, 0x7f, seven[3]&0x7f)
	got, ok := appendHuffmanDecoded(nil, seven)
	assert.True(t, ok, "seven ones are padding")
	assert.Equal(t, []byte{0xc7}, got)
	_, ok = appendHuffmanDecoded(nil, append(seven, 0xff))
	assert.False(t, ok, "fifteen ones are not")
}
