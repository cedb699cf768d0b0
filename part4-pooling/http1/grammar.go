package http1

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// A ByteSet is a character class of the grammar: s[c] says whether c belongs to it.
type ByteSet [256]bool

var (
	// TokenByte is tchar, the bytes of methods and field names (RFC 9110 §5.6.2).
	TokenByte   = ByteSetOf("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	nameByte    = ByteSetOf("!$&'()*+,;=-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") // of a host name; % begins an escape
	addressByte = ByteSetOf("0123456789abcdefABCDEF:.")                                                      // of an IPv6 address
	// TargetByte is the bytes of a request target: all that RFC 3986 allows, except
	// the # of a fragment, which a client never sends.
	TargetByte = ByteSetOf("!$%&'()*+,-./:;=?@[]_~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	valueByte  = byteRange(' ', 255, 127) // of a field value; init adds tab (RFC 9110 §5.5)
)

func init() { valueByte['\t'] = true }

// ByteSetOf returns the set of the bytes in members.
func ByteSetOf(members string) *ByteSet {
	var s ByteSet
	for i := range len(members) {
		s[members[i]] = true
	}
	return &s
}

func byteRange(first, last, without byte) *ByteSet {
	var s ByteSet
	for c := int(first); c <= int(last); c++ {
		s[c] = byte(c) != without
	}
	return &s
}

// Span returns how many bytes at the beginning of b are in s. In a complete head
// that is always less than len(b): the head ends in CRLF, which no set contains.
func Span(b []byte, s *ByteSet) int {
	for i, c := range b {
		if !s[c] {
			return i
		}
	}
	return len(b)
}

// valueSpan is Span(b, valueByte), eight bytes at a time, because most bytes of a
// request are field values. Subtracting a space from each byte sets the high bit of
// a byte that is smaller. A borrow can set wrong bits above it, so only the lowest
// bit found counts.
func valueSpan(b []byte) (n int) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; len(b)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(b[n:])
		del := w ^ 127*ones // a byte that was DEL is 0 now
		if found := ((w-' '*ones)&^w | (del-ones)&^del) & highs; found != 0 {
			n += bits.TrailingZeros64(found) / 8
			break
		}
	}
	return n + Span(b[n:], valueByte) // the byte found may be a tab, which is allowed
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// MaxNumber is what ParseNumber returns for every number too large for an int64.
const MaxNumber = 1<<63 - 1

// ParseNumber parses 1*DIGIT, without sign or space; ok is false for anything else.
// A number that does not fit is MaxNumber, which exceeds every limit.
func ParseNumber(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
		if n > (MaxNumber-9)/10 {
			n = MaxNumber
		} else {
			n = n*10 + int64(c-'0')
		}
	}
	return n, len(b) > 0
}

// ValidHost reports whether b is uri-host [ ":" port ], the value of a Host field
// (RFC 9110 §7.2). The empty host is valid.
func ValidHost(b []byte) bool {
	n := Span(b, nameByte)
	for n+2 < len(b) && b[n] == '%' && HexValue(b[n+1]) >= 0 && HexValue(b[n+2]) >= 0 {
		n += 3 + Span(b[n+3:], nameByte)
	}
	if n == 0 && len(b) > 0 && b[0] == '[' { // an IPv6 address
		if n = bytes.IndexByte(b, ']') + 1; n == 0 || Span(b[1:n], addressByte) != n-2 {
			return false
		}
	}
	if n < len(b) && b[n] == ':' {
		for n++; n < len(b) && isDigit(b[n]); n++ {
		}
	}
	return n == len(b)
}

// TrimSpace returns b without leading and trailing spaces and tabs, the only white
// space of HTTP (OWS, RFC 9110 §5.6.3).
func TrimSpace(b []byte) []byte {
	b = TrimLeadingSpace(b)
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// TrimLeadingSpace returns b without leading spaces and tabs.
func TrimLeadingSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// EqualFold reports whether b equals lower, ignoring the case of ASCII letters.
// lower must be in lower case.
func EqualFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// quotedSpan returns the length of the quoted-string at the beginning of b (RFC 9110
// §5.6.4), or 0 if there is none.
func quotedSpan(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for n := 1; n < len(b) && valueByte[b[n]]; n++ {
		switch {
		case b[n] == '"':
			return n + 1
		case b[n] == '\\' && n+1 < len(b) && valueByte[b[n+1]]:
			n++
		case b[n] == '\\':
			return 0
		}
	}
	return 0
}

// HexValue returns the value of the hexadecimal digit c, or -1 if it is none.
func HexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
