package http2

import "socketup/part4-pooling/http1"

// A Decoder decodes the blocks of fields that one peer sends on one connection, in
// the order in which they arrive (RFC 7541 §3). Blocks of HEADERS and trailers share
// it, and so must those of streams that are no longer of interest: a block that is
// skipped may have changed the table. Make one with NewDecoder.
type Decoder struct {
	// TooLong says that the fields of the last block exceed the list size of
	// NewDecoder, so that Decode returned none of them. That spoils one message and
	// not the connection.
	TooLong bool

	table     dynamicTable
	tableSize int    // the most that the encoder may set the table's limit to
	listSize  int    // of one block's fields
	arena     []byte // the strings of the last block that had a Huffman code
}

// DefaultTableSize is the size of a dynamic table, in bytes, until
// SETTINGS_HEADER_TABLE_SIZE says otherwise (RFC 9113 §6.5.2).
const DefaultTableSize = 4096

// NewDecoder returns a decoder. tableSize is the SETTINGS_HEADER_TABLE_SIZE that this
// side announced in its first frame, or DefaultTableSize; with 0 the decoder keeps
// nothing from block to block. listSize bounds the fields of one block: the bytes of
// names and values, and 32 for each field (RFC 9113 §6.5.2).
func NewDecoder(tableSize, listSize int) *Decoder {
	return &Decoder{
		table:     dynamicTable{limit: min(tableSize, DefaultTableSize)}, // the encoder enlarges it with an update
		tableSize: tableSize,
		listSize:  listSize,
	}
}

var (
	errIndex       = &ConnError{CompressionError, "a field has an index that no table has"}
	errTableSize   = &ConnError{CompressionError, "the table is made larger than SETTINGS_HEADER_TABLE_SIZE"}
	errUpdateLate  = &ConnError{CompressionError, "the table's size is changed after a field"}
	errStringShort = &ConnError{CompressionError, "a string is longer than its block"}
	errHuffman     = &ConnError{CompressionError, "a string is no Huffman code, or is padded wrongly"}
)

// Decode decodes one complete block, from HEADERS and its CONTINUATIONs, and appends
// its fields to fields. Their bytes are parts of block, of tables and of the decoder:
// they may not be changed, and are valid until the next Decode and while block is. If
// the list is longer than allowed, Decode sets TooLong and returns fields as it was;
// the tables are right all the same. Decode checks no name and no value:
// ParseResponseHead and ParseTrailers do.
//
// Every error is a COMPRESSION_ERROR, and the decoder is of no further use. Decode
// allocates nothing once fields and decoder have grown to the size of the blocks,
// unless the block adds to the dynamic table.
//
// RFC 9113 §4.3.1 wants an encoder that was told a size below DefaultTableSize to begin
// its first block with an update. Decode does without one: with a size of 0, an encoder
// that ignores it either never refers to its table or is refused.
func (d *Decoder) Decode(block []byte, fields []http1.Field) ([]http1.Field, *ConnError) {
	d.arena, d.TooLong = d.arena[:0], false
	before, left := len(fields), d.listSize
	rest, refused := d.readUpdates(block)
	for len(rest) > 0 && refused == nil {
		var f http1.Field
		f, rest, refused = d.readField(rest)
		if left -= fieldSize(f); left < 0 {
			d.TooLong = true
		} else {
			fields = append(fields, f)
		}
	}
	if refused != nil || d.TooLong {
		fields = fields[:before]
	}
	return fields, refused
}

// readUpdates reads the changes of the table's limit with which a block may begin
// (RFC 7541 §4.2).
func (d *Decoder) readUpdates(b []byte) (rest []byte, refused *ConnError) {
	for len(b) > 0 && b[0]&0xe0 == sizeUpdate {
		var size int
		if size, b, refused = readInteger(b, 5); refused != nil {
			return nil, refused
		}
		if size > d.tableSize {
			return nil, errTableSize
		}
		d.table.setLimit(size)
	}
	return b, nil
}

// readField reads one field in any of its four representations (RFC 7541 §6).
func (d *Decoder) readField(b []byte) (f http1.Field, rest []byte, refused *ConnError) {
	switch c := b[0]; {
	case c&0x80 == indexed:
		var i int
		if i, rest, refused = readInteger(b, 7); refused == nil {
			f, refused = d.field(i)
		}
		return f, rest, refused
	case c&0xc0 == literalIndexed:
		if f, rest, refused = d.readLiteral(b, 6); refused == nil {
			d.table.add(f)
		}
		return f, rest, refused
	case c&0xe0 == sizeUpdate:
		return f, nil, errUpdateLate
	}
	return d.readLiteral(b, 4) // not indexed, or never: the difference is for who encodes it again
}

// field returns the field with index i in the two tables, the static one first (RFC
// 7541 §2.3.3).
func (d *Decoder) field(i int) (http1.Field, *ConnError) {
	switch dynamic := i - len(staticTable) + 1; {
	case i == 0 || dynamic > len(d.table.fields):
		return http1.Field{}, errIndex
	case dynamic > 0:
		return d.table.field(dynamic), nil
	}
	return staticTable[i], nil
}

// readLiteral reads a field whose value is spelled out, and its name too if the index
// in the last bits of the first byte is 0.
func (d *Decoder) readLiteral(b []byte, bits int) (f http1.Field, rest []byte, refused *ConnError) {
	i, b, refused := readInteger(b, bits)
	switch {
	case refused != nil:
	case i == 0:
		f.Name, b, refused = d.readString(b)
	default:
		f, refused = d.field(i)
	}
	if refused != nil {
		return http1.Field{}, nil, refused
	}
	f.Value, b, refused = d.readString(b)
	return f, b, refused
}

// readString reads a string (RFC 7541 §5.2). A string without Huffman code stays
// where it is.
func (d *Decoder) readString(b []byte) (s, rest []byte, refused *ConnError) {
	n, rest, refused := readInteger(b, 7)
	switch {
	case refused != nil:
		return nil, nil, refused
	case n > len(rest):
		return nil, nil, errStringShort
	case b[0]&huffmanCoded == 0:
		return rest[:n], rest[n:], nil
	}
	from, ok := len(d.arena), false
	if d.arena, ok = appendHuffmanDecoded(d.arena, rest[:n]); !ok {
		return nil, nil, errHuffman
	}
	return d.arena[from:], rest[n:], nil
}
