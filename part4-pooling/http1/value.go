package http1

// IsValue reports whether b is a field value without white space around it (RFC 9110
// §5.5): no control characters but tab. HTTP/2 carries values in any bytes, so its
// receiver has to look.
func IsValue(b []byte) bool {
	if n := len(b); n > 0 && (isSpace(b[0]) || isSpace(b[n-1])) {
		return false
	}
	return valueSpan(b) == len(b)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }
