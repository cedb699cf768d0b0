package http2

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBlocksThatSpoilTheConnection(t *testing.T) {
	full := "0f ff ff ff ff ff" // after a first byte of ones: one byte more than an integer has
	for name, c := range map[string]struct {
		in   string
		want *ConnError
	}{
		"index 0":                         {"80", errIndex},
		"the first index of no table":     {"be", errIndex},
		"a name without index":            {"0f 2f 01 61", errIndex}, // 62
		"an integer cut off":              {"ff", errInteger},
		"an integer cut off later":        {"ff 80 80", errInteger},
		"an integer too large":            {"ff ff ff ff ff 0f", errInteger},
		"an integer with too many zeros":  {"ff 80 80 80 80 00", errInteger},
		"a table size too large":          {"3f e2 1f", errTableSize}, // 4097
		"a table size cut off":            {"3f", errInteger},
		"a table size after a field":      {"82 20", errUpdateLate},
		"a literal without a name":        {"00", errInteger},
		"a literal without a value":       {"00 01 61", errInteger},
		"a name longer than the block":    {"00 02 61", errStringShort},
		"a value longer than the block":   {"00 01 61 02 61", errStringShort},
		"a value of a length without end": {"00 01 61 7f" + full[2:], errInteger},
		"a Huffman name with EOS":         {"00 84 ff ff ff ff 00", errHuffman},
		"a Huffman value padded with 8":   {"00 01 61 81 ff", errHuffman},
		"a Huffman value padded with 0":   {"00 01 61 81 18", errHuffman},
		"the same, to be indexed":         {"40 01 61 81 18", errHuffman},
		"the same, never to be indexed":   {"10 01 61 81 18", errHuffman},
	} {
		d := NewDecoder(DefaultTableSize, 1000)
		before := fields("kept", "")
		got, refused := d.Decode(unhex(t, strings.ReplaceAll(c.in, " ", "")), before)
		assert.Equal(t, c.want, refused, name)
		assert.Equal(t, before, got, name)
	}
}

func TestBlocksAtTheEdgeAreDecoded(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"nothing":                  {"", ""},
		"sizes alone":              {"20 3f e1 1f", ""}, // 0, then 4096
		"the last static index":    {"bd", "www-authenticate: \n"},
		"an index just remembered": {"40 01 61 01 62 be", "a: b\na: b\n"},
		"a name just remembered":   {"40 01 61 01 62 0f 2f 01 63", "a: b\na: c\n"},
		"an empty name":            {"00 00 00", ": \n"}, // for ParseResponseHead to refuse
		"an empty Huffman string":  {"00 01 61 80", "a: \n"},
	} {
		d := NewDecoder(DefaultTableSize, 1000)
		got, refused := d.Decode(unhex(t, c.in), nil)
		assert.Nil(t, refused, name)
		assert.Equal(t, c.want, text(got), name)
	}
}

// nginx asks to index fields although the client said that it has no table.
func TestATableOfSizeZeroRemembersNothing(t *testing.T) {
	d := NewDecoder(0, 1000)

	got, refused := d.Decode(unhex(t, "20 40 01 61 01 62"), nil)
	require.Nil(t, refused)
	assert.Equal(t, "a: b\n", text(got))

	_, refused = d.Decode(unhex(t, "be"), nil)
	assert.Equal(t, errIndex, refused)
	_, refused = d.Decode(unhex(t, "21"), nil)
	assert.Equal(t, errTableSize, refused)
}

func TestAnUpdateEvictsWhatNoLongerFits(t *testing.T) {
	d := NewDecoder(DefaultTableSize, 1000)
	_, refused := d.Decode(unhex(t, "40 01 61 01 62 40 01 63 01 64"), nil) // two fields of 34 bytes
	require.Nil(t, refused)

	got, refused := d.Decode(unhex(t, "3f 03 be"), nil) // 34
	require.Nil(t, refused)
	assert.Equal(t, "c: d\n", text(got))
	_, refused = d.Decode(unhex(t, "bf"), nil)
	assert.Equal(t, errIndex, refused)

	_, refused = d.Decode(unhex(t, "3f 02"), nil) // 33
	require.Nil(t, refused)
	assert.Empty(t, d.table.fields)
	assert.Zero(t, d.table.size)
}

// The entry that an insertion evicts may be the one that gives it its name (RFC 7541
// §4.4), and a field returned earlier in the same block.
func TestEvictedFieldsStayValidForTheBlock(t *testing.T) {
	d := NewDecoder(34, 1000)
	got, refused := d.Decode(unhex(t, "40 01 61 01 62 be 7e 01 63 be"), nil)
	require.Nil(t, refused)
	assert.Equal(t, "a: b\na: b\na: c\na: c\n", text(got))
}

// The block is in a buffer into which the next frames are read.
func TestTheTableOwnsItsBytes(t *testing.T) {
	d := NewDecoder(DefaultTableSize, 1000)
	block := append(unhex(t, "40 01 61 00"), appendCoded(nil, literalIndexed, 6, "name", "value")...)
	_, refused := d.Decode(block, nil)
	require.Nil(t, refused)
	clear(block)
	_, refused = d.Decode(appendCoded(nil, literal, 4, "other", "text!"), nil) // in the place of the first Huffman string
	require.Nil(t, refused)

	got, refused := d.Decode(unhex(t, "be bf"), nil)
	require.Nil(t, refused)
	assert.Equal(t, "name: value\na: \n", text(got))
}

// A table above the default is for the encoder to ask for: until then both sides have
// 4096 bytes, and evict alike.
func TestALargeTableBeginsSmall(t *testing.T) {
	d := NewDecoder(10000, 100000)
	large := appendString(appendString([]byte{literalIndexed}, []byte("a")), bytes.Repeat([]byte("b"), DefaultTableSize))
	_, refused := d.Decode(large, nil)
	require.Nil(t, refused)
	_, refused = d.Decode([]byte{0xbe}, nil)
	require.Equal(t, errIndex, refused)

	large = append(appendInteger(nil, sizeUpdate, 5, 10000), large...)
	_, refused = d.Decode(large, nil)
	require.Nil(t, refused)
	_, refused = d.Decode([]byte{0xbe}, nil)
	assert.Nil(t, refused)
}

// One index is one byte of a block and any number of bytes in a list, so the list has
// a bound of its own. It spoils the message alone: the tables still agree.
func TestListsThatAreTooLongAreDecodedAndDropped(t *testing.T) {
	d := NewDecoder(DefaultTableSize, 3*34)

	got, refused := d.Decode(unhex(t, "40 01 61 01 62 be be"), fields("kept", ""))
	require.Nil(t, refused)
	assert.False(t, d.TooLong)
	assert.Equal(t, "kept: \na: b\na: b\na: b\n", text(got))

	got, refused = d.Decode(unhex(t, "be be be be 40 01 63 01 64"), fields("kept", ""))
	require.Nil(t, refused)
	assert.True(t, d.TooLong)
	assert.Equal(t, "kept: \n", text(got))

	got, refused = d.Decode(unhex(t, "be bf"), nil)
	require.Nil(t, refused)
	assert.False(t, d.TooLong)
	assert.Equal(t, "c: d\na: b\n", text(got), "the field after the limit is remembered")
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	for name, block := range heads() {
		d := NewDecoder(0, 16<<10)
		list, refused := d.Decode(block, nil)
		require.Nil(t, refused)
		allocs := testing.AllocsPerRun(100, func() { list, _ = d.Decode(block, list[:0]) })
		assert.Zero(t, allocs, name)
	}
}
