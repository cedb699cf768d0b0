package http2

import "socketup/part4-pooling/http1"

// fields returns the fields of names and values in turn.
func fields(texts ...string) (list []http1.Field) {
	for i := 0; i < len(texts); i += 2 {
		list = append(list, http1.Field{Name: []byte(texts[i]), Value: []byte(texts[i+1])})
	}
	return list
}

// huffmanEncode is the other direction of appendHuffmanDecoded.
func huffmanEncode(s []byte) []byte {
	var codes [256]uint64
	var lengths [256]int
	code, bits := uint64(0), 0
	for length, symbols := range huffmanCode {
		code, bits = code<<(length-bits), length
		for i := range len(symbols) {
			codes[symbols[i]], lengths[symbols[i]] = code, length
			code++
		}
	}
	var out []byte
	pending, n := uint64(0), 0 // bits not yet in out
	for _, c := range s {
		pending, n = pending<<lengths[c]|codes[c], n+lengths[c]
		for ; n >= 8; n -= 8 {
			out = append(out, byte(pending>>(n-8)))
		}
	}
	if n > 0 {
		out = append(out, byte(pending<<(8-n))|0xff>>n)
	}
	return out
}

// appendCoded appends a literal field as servers send it: the name by index where
// there is one, the value in Huffman code.
func appendCoded(b []byte, representation byte, bits int, name, value string) []byte {
	index, both := staticIndex([]byte(name), []byte(value))
	if both {
		return appendInteger(b, indexed, 7, index)
	}
	b = appendInteger(b, representation, bits, index)
	texts := []string{name, value}
	if index > 0 {
		texts = texts[1:]
	}
	for _, text := range texts {
		coded := huffmanEncode([]byte(text))
		b = append(appendInteger(b, huffmanCoded, 7, len(coded)), coded...)
	}
	return b
}
