package http2

// The first bits of a field say how it is represented, and what follows (RFC 7541 §6).
const (
	indexed        = 0x80 // an index: name and value are in a table
	literalIndexed = 0x40 // a field that the decoder adds to its table
	sizeUpdate     = 0x20 // no field: the table's new limit
	literalNever   = 0x10 // a field that no program on the way may add to a table
	literal        = 0x00 // a field that is not added

	huffmanCoded = 0x80 // the first bit of a string
)

// AppendField appends to b one field of a block (RFC 7541 §6). name must be in lower
// case. The encoder keeps no dynamic table, so blocks depend on nothing that was sent
// before, and goroutines may encode for one connection side by side. Strings have no
// Huffman code: it would save a quarter of their bytes, and cost more time than the
// rest of the encoder. AppendField allocates only to grow b.
//
// Credentials are marked as never indexed, so that no program between compresses them
// together with what an attacker chose, and tells by the length what they are (§7.1.3).
func AppendField(b, name, value []byte) []byte {
	index, both := staticIndex(name, value)
	if both {
		return appendInteger(b, indexed, 7, index)
	}
	representation := byte(literal)
	if isSecret(name, value) {
		representation = literalNever
	}
	b = appendInteger(b, representation, 4, index)
	if index == 0 {
		b = appendString(b, name)
	}
	return appendString(b, value)
}

func appendString(b, s []byte) []byte { return append(appendInteger(b, 0, 7, len(s)), s...) }

const shortSecret = 20 // bytes; a longer cookie is too long to guess piece by piece

// isSecret reports whether a field may hold something that can be guessed if its
// compressed length is seen.
func isSecret(name, value []byte) bool {
	switch string(name) {
	case "authorization", "proxy-authorization", "set-cookie":
		return true
	case "cookie":
		return len(value) < shortSecret
	}
	return false
}

// AppendRequestHead appends the four pseudo-fields with which the block of a request
// begins (RFC 9113 §8.3.1). authority is what Host says in HTTP/1.1, path includes the
// query, and scheme is http or https.
func AppendRequestHead(b, method, scheme, authority, path []byte) []byte {
	b = AppendField(b, []byte(":method"), method)
	b = AppendField(b, []byte(":scheme"), scheme)
	b = AppendField(b, []byte(":authority"), authority)
	return AppendField(b, []byte(":path"), path)
}
