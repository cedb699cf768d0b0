package http1

import "bytes"

// HeadLength returns the length of the head at the beginning of b, its empty line
// included, or 0 if b does not yet hold all of it. from is how many bytes of b an
// earlier call has searched; it starts at 0, and saves searching them again.
func HeadLength(b []byte, from int) int {
	for i := max(from-3, 0); ; i++ {
		cr := bytes.IndexByte(b[i:], '\r')
		if cr < 0 || i+cr+4 > len(b) {
			return 0
		}
		if i += cr; string(b[i:i+4]) == "\r\n\r\n" {
			return i + 4
		}
	}
}

// CheckPartialHead returns an error if the incomplete request head b is already wrong
// or has reached maxHead bytes, so that its sender gets a response now instead of
// after a timeout; otherwise nil. It ignores bytes beyond maxHead: the result must
// not depend on where the network cut the bytes. from is how many bytes of b an earlier
// call has checked: a head that arrives byte by byte is not checked from its beginning
// each time.
func CheckPartialHead(b []byte, from, maxHead int) *StatusError {
	seen := b[:min(len(b), maxHead)]
	if refused := checkPrefix(seen, from, errRequestLine); refused != nil || len(b) < maxHead {
		return refused
	}
	return tooLongError(seen)
}

// checkPrefix finds the two errors that show in any prefix of a head: a wrong first
// byte, for which it returns begin, and a bare LF. Of the errors in a complete head
// these two are reported first, because a head that arrives in pieces is refused for
// them first.
func checkPrefix(b []byte, from int, begin *StatusError) *StatusError {
	switch {
	case len(b) > 0 && !TokenByte[b[0]] && b[0] != '\r':
		return begin // a TLS ClientHello, perhaps
	case hasBareLF(b, from):
		return errLineEnding
	}
	return nil
}

// hasBareLF reports whether b has a LF without CR. The first from bytes have none.
func hasBareLF(b []byte, from int) bool {
	for from < len(b) {
		lf := bytes.IndexByte(b[from:], '\n')
		if lf < 0 {
			return false
		}
		if from += lf; from == 0 || b[from-1] != '\r' {
			return true
		}
		from++
	}
	return false
}

// tooLongError returns the error for a head that has reached the limit, of which b is
// all that fits: 431, unless the method (501) or the target (414) alone fills it
// (RFC 9112 §3).
func tooLongError(b []byte) *StatusError {
	method := Span(b, TokenByte)
	switch {
	case bytes.IndexByte(b, '\n') >= 0:
		return errHeadTooLong
	case method == len(b) || method > maxMethod:
		return errMethodTooLong
	case b[method] != ' ':
		return errRequestLine
	}
	target := b[method+1:]
	if t := Span(target, TargetByte); t < len(target) && target[t] != ' ' {
		return errRequestLine
	}
	return errTargetTooLong
}

const maxMethod = 32 // bytes; the longest registered method has 17 (UPDATEREDIRECTREF, RFC 4437)
