package http2

import (
	"encoding/binary"
	"slices"
)

// huffmanCode is the code of RFC 7541 Appendix B: the bytes whose codes have that many
// bits, in their order. It is canonical (§5.2): the codes of one length are consecutive
// numbers, and the first is the number after the last shorter code, with zeros
// appended. So the lengths say all that the RFC's table of 257 codes says. The last
// code, thirty ones, is EOS, which no string may contain.
var huffmanCode = [31]string{
	5:  "012aceiost",
	6:  " %-./3456789=A_bdfghlmnpru",
	7:  ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
	8:  "&*,;XZ",
	10: "!\"()?",
	11: "'+|",
	12: "#>",
	13: "\x00$@[]~",
	14: "^}",
	15: "<`{",
	19: "\\\xc3\xd0",
	20: "\x80\x82\x83\xa2\xb8\xc2\xe0\xe2",
	21: "\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6",
	22: "\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9",
	23: "\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5\xe7\xef",
	24: "\t\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed",
	25: "\xc7\xcf\xea\xeb",
	26: "\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff",
	27: "\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe",
	28: "\x02\x03\x04\x05\x06\a\b\v\f\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f\xdc\xf9",
	30: "\n\r\x16",
}

// nextSymbol decodes the code in the first bits of window, and says how many they are;
// 0 stands for EOS. It is the textbook's decoder of a canonical code: if the first
// bits, read as a number, are a code of that length, their distance from the first one
// is the symbol's place. It reads any window, and takes a step for each bit.
func nextSymbol(window uint64) (symbol byte, length int) {
	first := uint64(0)
	for length, symbols := range huffmanCode {
		if place := window>>(64-length) - first; place < uint64(len(symbols)) {
			return symbols[place], length
		}
		first = (first + uint64(len(symbols))) << 1
	}
	return 0, 0
}

// Nearly all strings are made of the symbols with five to seven bits, so the decoder
// looks up two at a time.
const pairBits = 12

// A huffmanPair is the symbols that nextSymbol finds in pairBits bits: two, or one if
// the second needs more bits, or none if the first does.
type huffmanPair struct {
	symbols [2]byte
	count   uint8
	length  uint8 // in bits, of both
}

var huffmanPairs = pairSymbols()

// pairSymbols computes the table. The index is the complement of the bits.
func pairSymbols() (pairs [1 << pairBits]huffmanPair) {
	for i := range pairs {
		window := ^uint64(i << (64 - pairBits))
		for p := &pairs[i]; p.count < 2; p.count++ {
			symbol, length := nextSymbol(window << p.length)
			if length == 0 || int(p.length)+length > pairBits {
				break
			}
			p.symbols[p.count] = symbol
			p.length += uint8(length)
		}
	}
	return pairs
}

// appendHuffmanDecoded appends to dst the string that src encodes; ok is false if src
// contains EOS, or if anything but up to seven ones follows the last code (RFC 7541
// §5.2).
//
// window holds the next bits, the first one on top, as their complement: so the zeros
// that a shift moves in stand for ones, as if the padding had no end, and a window of
// zeros is padding.
func appendHuffmanDecoded(dst, src []byte) (_ []byte, ok bool) {
	n := len(dst)
	dst = slices.Grow(dst, len(src)*8/5+2)
	out := dst[:cap(dst)]
	window, have := uint64(0), 0 // have is how many bits of window are from src
	for {
		switch {
		case have >= 32: // the longest code has 30
		case len(src) >= 4:
			window |= uint64(^binary.BigEndian.Uint32(src)) << (32 - have)
			src = src[4:]
			have += 32
		default:
			for ; len(src) > 0; have += 8 {
				window |= uint64(^src[0]) << (56 - have)
				src = src[1:]
			}
		}
		if window == 0 && len(src) == 0 {
			return out[:n], have < 8
		}
		p := &huffmanPairs[window>>(64-pairBits)]
		out[n], out[n+1] = p.symbols[0], p.symbols[1] // only count of them are kept: no branch
		n += int(p.count)
		length := int(p.length)
		if length == 0 {
			out[n], length = nextSymbol(^window)
			n++
		}
		if length == 0 || length > have {
			return out[:n], false
		}
		window <<= length
		have -= length
	}
}
