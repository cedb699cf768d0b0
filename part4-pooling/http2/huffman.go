package http2

import "slices"

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

// The decoder is a state machine that takes four bits at a time. A state is an inner
// node of the code's tree: the bits of a code read so far; state 0 is the root. A step
// passes at most one leaf, since no code has fewer than five bits.
type huffmanStep struct {
	next   uint8 // the state afterwards
	symbol uint8 // the byte of the leaf that was passed
	passed uint8 // 1 if one was
	eos    bool  // it was EOS
}

var huffmanSteps, huffmanMayEnd = huffmanMachine()

// huffmanTree returns the inner nodes of the code's tree: for each, what follows on a
// 0 and on a 1. A leaf is its symbol plus leaf; EOS is symbol 256.
func huffmanTree() (nodes [][2]int) {
	nodes = [][2]int{{}}
	code, bits := 0, 0
	for length, symbols := range huffmanCode {
		code <<= length - bits
		bits = length
		for i := range len(symbols) {
			nodes = plant(nodes, code, length, int(symbols[i]))
			code++
		}
	}
	return plant(nodes, code, bits, eos)
}

const (
	eos  = 256
	leaf = 1 << 10
)

// plant adds to the tree the code of so many bits for symbol.
func plant(nodes [][2]int, code, bits, symbol int) [][2]int {
	at := 0
	for bits--; bits > 0; bits-- {
		next := &nodes[at][code>>bits&1]
		if *next == 0 {
			*next = len(nodes)
			nodes = append(nodes, [2]int{})
		}
		at = nodes[at][code>>bits&1]
	}
	nodes[at][code&1] = leaf + symbol
	return nodes
}

// huffmanMachine computes the steps of all 256 states, and the states in which a
// string may end: after nothing, or after up to seven bits of EOS (RFC 7541 §5.2).
func huffmanMachine() (steps [256][16]huffmanStep, mayEnd [256]bool) {
	nodes := huffmanTree()
	for state := range steps {
		for in := range steps[state] {
			steps[state][in] = stepFrom(nodes, state, in)
		}
	}
	for state, ones := 0, 0; ones < 8; ones++ {
		mayEnd[state] = true
		state = nodes[state][1]
	}
	return steps, mayEnd
}

// stepFrom walks the tree from state along the four bits of in.
func stepFrom(nodes [][2]int, state, in int) (s huffmanStep) {
	for bit := 3; bit >= 0; bit-- {
		if state = nodes[state][in>>bit&1]; state >= leaf {
			s.symbol, s.passed, s.eos = uint8(state-leaf), 1, state-leaf == eos
			state = 0
		}
	}
	s.next = uint8(state)
	return s
}

// appendHuffmanDecoded appends to dst the string that src encodes; ok is false if
// src contains EOS, or ends in anything but up to seven ones after the last code.
func appendHuffmanDecoded(dst, src []byte) (_ []byte, ok bool) {
	n := len(dst)
	dst = slices.Grow(dst, len(src)*8/5+1)
	out := dst[:cap(dst)]
	state, bad := uint8(0), false
	for _, c := range src {
		high := &huffmanSteps[state][c>>4]
		out[n] = high.symbol // counts only if a leaf was passed: no branch to mispredict
		n += int(high.passed)
		low := &huffmanSteps[high.next][c&15]
		out[n] = low.symbol
		n += int(low.passed)
		state = low.next
		bad = bad || high.eos || low.eos
	}
	return out[:n], !bad && huffmanMayEnd[state]
}
