package oracle

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2/hpack"

	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/http2"
)

const noLimit = 1 << 30 // bytes of a list

func ours(fields []http1.Field) string {
	var b strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&b, "%q: %q\n", f.Name, f.Value)
	}
	return b.String()
}

func theirs(fields []hpack.HeaderField) string {
	var b strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&b, "%q: %q\n", f.Name, f.Value)
	}
	return b.String()
}

// words are names and values of which some are in the static table, some have a short
// Huffman code, some are shorter without one, and some do not fit in a small table.
var words = []string{
	":status", "200", "404", "302", "content-type", "text/html", "date", "Sun, 29 Nov 2026 01:10:01 GMT", "set-cookie",
	"authorization", "x", "", "x-y-z", "\x00\xff\xfe\x16\n", "{}<>|~^", "accept-encoding", "gzip, deflate", ":path", "/", "cookie",
	strings.Repeat("a", 150), strings.Repeat("\xf9", 40), strings.Repeat("long ", 1000),
}

func word(r *rand.Rand) string { return words[r.IntN(len(words))] }

func TestWhatTheirEncoderWritesOursReads(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		tableSize := r.IntN(3) * r.IntN(http2.DefaultTableSize/2)
		var wire bytes.Buffer
		encoder := hpack.NewEncoder(&wire)
		encoder.SetMaxDynamicTableSizeLimit(uint32(tableSize))
		decoder := http2.NewDecoder(tableSize, noLimit)
		for range 20 {
			if r.IntN(4) == 0 {
				encoder.SetMaxDynamicTableSize(uint32(r.IntN(tableSize + 1)))
			}
			var want []hpack.HeaderField
			for range r.IntN(12) {
				f := hpack.HeaderField{Name: word(r), Value: word(r), Sensitive: r.IntN(5) == 0}
				want = append(want, f)
				require.NoError(t, encoder.WriteField(f))
			}

			got, refused := decoder.Decode(wire.Bytes(), nil)

			require.Nil(t, refused, "seed %d", seed)
			require.Equal(t, theirs(want), ours(got), "seed %d", seed)
			wire.Reset()
		}
	}
}

func TestWhatOurEncoderWritesTheirsReads(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		block := http2.AppendRequestHead(nil, []byte(word(r)), []byte(word(r)), []byte(word(r)), []byte(word(r)))
		for range r.IntN(12) {
			block = http2.AppendField(block, []byte(word(r)), []byte(word(r)))
		}

		got, err := hpack.NewDecoder(0, nil).DecodeFull(block)

		require.NoError(t, err, "seed %d", seed)
		want, refused := http2.NewDecoder(0, noLimit).Decode(block, nil)
		require.Nil(t, refused)
		require.Equal(t, ours(want), theirs(got), "seed %d", seed)
		for _, f := range got {
			secret := f.Name == "authorization" || f.Name == "set-cookie" || f.Name == "cookie" && len(f.Value) < 20
			inTable := f.Value == "" // which gives nothing away
			require.Equal(t, secret && !inTable, f.Sensitive, "%q", f)
		}
	}
}

func TestEveryStringSurvivesBothHuffmanCodes(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			text := string([]byte{byte(a), byte(b), 'e', byte(a)})
			value := hpack.AppendHuffmanString(nil, text)
			block := append([]byte{0, 1, 'x', 0x80 | byte(len(value))}, value...)
			got, refused := http2.NewDecoder(0, noLimit).Decode(block, nil)
			require.Nil(t, refused, "%q", text)
			require.Equal(t, text, string(got[0].Value))
		}
	}
}

// checkDecoders feeds blocks to both decoders. They must refuse the same block, or
// return the same fields.
//
// Theirs is more lenient, ours not:
//   - an integer may have ten bytes, though five hold any that can be right (§5.1 lets
//     a decoder bound both);
//   - an update of the table's size may follow a field if the table is empty, which
//     §4.2 forbids whatever the table holds.
//
// Ours is more lenient in one point: a block may begin with several updates. §4.2
// asks for two, if the size went down and up again between two blocks; theirs refuses
// the second unless the first emptied the table.
func checkDecoders(t *testing.T, tableSize int, blocks ...[]byte) {
	our, their := http2.NewDecoder(tableSize, noLimit), hpack.NewDecoder(uint32(tableSize), nil)
	for i, block := range blocks {
		got, refused := our.Decode(block, nil)
		want, err := their.DecodeFull(block)
		switch {
		case refused == nil && err == nil:
			require.Equal(t, theirs(want), ours(got), "block %d of %x", i, blocks)
		case refused != nil && err != nil:
			require.Equal(t, http2.CompressionError, refused.Code)
			return
		case refused == nil:
			require.ErrorContains(t, err, "MUST occur at the beginning", "block %d of %x", i, blocks)
			require.EqualValues(t, 0x20, block[0]&0xe0, "block %d of %x begins with an update", i, blocks)
			return
		default:
			late := strings.Contains(refused.Detail, "after a field")
			long := strings.Contains(refused.Detail, "integer")
			require.True(t, late || long, "block %d of %x: %v", i, blocks, refused)
			return
		}
	}
}

// randomBlock has all representations, most of them right.
func randomBlock(r *rand.Rand) (b []byte) {
	text := func() {
		s := []byte(word(r))
		flag := byte(0)
		if r.IntN(2) == 0 {
			s, flag = hpack.AppendHuffmanString(nil, string(s)), 0x80
		}
		if r.IntN(30) == 0 && len(s) > 0 {
			s[r.IntN(len(s))] ^= 1 << r.IntN(8)
		}
		b = append(appendInt(b, flag, 7, len(s)), s...)
	}
	for i := range r.IntN(8) {
		switch kind := r.IntN(8); {
		case kind == 0 && (i < 2 || r.IntN(10) == 0):
			b = appendInt(b, 0x20, 5, r.IntN(300))
		case kind < 4:
			b = appendInt(b, 0x80, 7, 1+r.IntN(64))
		default:
			flags, bits := byte(0x40), 6
			if kind == 7 {
				flags, bits = byte(r.IntN(2)<<4), 4
			}
			if r.IntN(2) == 0 {
				b = appendInt(b, flags, bits, 1+r.IntN(64))
			} else {
				b = append(b, flags)
				text()
			}
			text()
		}
	}
	if r.IntN(20) == 0 && len(b) > 0 {
		b = b[:r.IntN(len(b))]
	}
	return b
}

func appendInt(b []byte, flags byte, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(b, flags|byte(n))
	}
	b = append(b, flags|byte(most))
	for n -= most; n >= 128; n /= 128 {
		b = append(b, byte(n)|128)
	}
	return append(b, byte(n))
}

func TestBothDecodersAgreeOnRandomBlocks(t *testing.T) {
	for seed := range uint64(20_000) {
		r := rand.New(rand.NewPCG(seed, 1))
		checkDecoders(t, []int{0, 64, 300, 4096}[r.IntN(4)], randomBlock(r), randomBlock(r), randomBlock(r))
	}
}

func TestBothDecodersAgreeOnRandomHuffmanStrings(t *testing.T) {
	for seed := range uint64(50_000) {
		r := rand.New(rand.NewPCG(seed, 2))
		value := make([]byte, r.IntN(8))
		for i := range value {
			value[i] = byte(r.IntN(256)) | byte(r.IntN(2)*0xff) // the long codes are made of ones
		}
		checkDecoders(t, 0, append([]byte{0, 1, 'x', 0x80 | byte(len(value))}, value...))
	}
}

func FuzzBothDecodersAgree(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		f.Add(uint16(300), randomBlock(r), randomBlock(r))
	}
	f.Fuzz(func(t *testing.T, tableSize uint16, one, two []byte) {
		checkDecoders(t, int(tableSize%(http2.DefaultTableSize+1)), one, two)
	})
}
