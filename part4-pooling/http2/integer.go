package http2

// An HPACK integer shares its first byte with flags: it begins in the last bits of
// it, and continues in further bytes, seven bits in each, when all of these are ones
// (RFC 7541 §5.1).

const maxIntegerBytes = 4 // after the first: integers end below 2^28 + 2^8, far above any that is allowed

var errInteger = &ConnError{CompressionError, "an integer is cut off, or too large"}

// appendInteger appends n after the flags of its first byte, of which it uses the
// last bits.
func appendInteger(b []byte, flags byte, bits, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(b, flags|byte(n))
	}
	b = append(b, flags|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// readInteger reads an integer from the last bits of b's first byte, and returns the
// bytes after it.
func readInteger(b []byte, bits int) (n int, rest []byte, refused *ConnError) {
	if len(b) == 0 {
		return 0, nil, errInteger
	}
	most := 1<<bits - 1
	if n = int(b[0]) & most; n < most {
		return n, b[1:], nil
	}
	for i := 1; i < len(b) && i <= maxIntegerBytes; i++ {
		n += int(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			return n, b[i+1:], nil
		}
	}
	return 0, nil, errInteger
}
