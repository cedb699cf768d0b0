package gateway

import (
	"bytes"
	"slices"

	"socketup/part4-pooling/http1"
)

// Path confusion. The gateway chooses the backend by the path, so both must read it
// alike, and they may not: to the gateway /public/..;/admin is below /public, and a
// backend that reads it as /admin serves a page that another backend, or none, should
// serve. The gateway cannot know which reading a backend uses. So it forwards a path
// only if all readings belong to the same backend; it never rewrites a path.

// mayBeAmbiguous reports whether path may have a second reading. Most paths do not, and
// cost one pass over their bytes.
func mayBeAmbiguous(path []byte) bool {
	slash := false
	for _, c := range path {
		switch {
		case c == '%', c == ';', c == '\\', slash && (c == '.' || c == '/'):
			return true
		}
		slash = c == '/'
	}
	return false
}

// maxReadings is how long all the readings of a path may be together, in bytes: the work that
// a client can ask for with a path. A path of 1 KiB may have all 32; one of 6 KiB with blanks in
// it has 5. Without a bound a path of 7 KB took 3 ms. A gateway with one backend for all
// paths reads none.
const maxReadings = 32 << 10

// anyReading says whether one of path's readings is for another backend, or whether there are
// too many to tell. Ways that read the path alike are one reading.
func anyReading(path []byte, other func(reading []byte) bool) bool {
	if !mayBeAmbiguous(path) {
		return false
	}
	var buf []byte
	total := 0
	for _, text := range decodings(path) {
		possible := waysToRead(text)
		for l := range leniency(allLeniencies) {
			if l&^possible != 0 {
				continue
			}
			if total += len(text); total > maxReadings {
				return true
			}
			if buf = normalizePath(buf[:0], text, l); other(buf) {
				return true
			}
		}
	}
	return false
}

// decodings are what careful and careless programs make of path's escapes, each once.
func decodings(path []byte) [][]byte {
	var texts [][]byte
	for _, all := range []bool{false, true} {
		for once, n := path, 0; n < 2; n++ {
			once = unescape(once, all)
			if !slices.ContainsFunc(texts, func(text []byte) bool { return bytes.Equal(text, once) }) {
				texts = append(texts, once)
			}
		}
	}
	return texts
}

// leniency is how a careless program reads a path, beside how it decodes it. Each does it in its
// own way, so all ways are tried, together and apart.
type leniency int

const (
	backslashIsSlash leniency = 1 << iota // \ is /
	stripParams                           // a segment ends at ; or at a space or control byte
	mergeSlashes                          // // is /
	allLeniencies
)

// waysToRead are those that can make a difference in text: the others need not be tried.
func waysToRead(text []byte) (l leniency) {
	for i, c := range text {
		switch {
		case c == '\\':
			l |= backslashIsSlash | mergeSlashes // which it may bring about
		case endsSegment(c):
			l |= stripParams | mergeSlashes
		case c == '/' && i > 0 && text[i-1] == '/':
			l |= mergeSlashes
		}
	}
	return l
}

func endsSegment(c byte) bool { return c == ';' || c <= ' ' }

// normalizePath appends text, a path, to reading as RFC 3986 §6.2.2.3 normalises it, dot segments removed, and
// as loosely as l says. Each byte is looked at a few times, however many segments there are.
func normalizePath(reading, text []byte, l leniency) []byte {
	for rest := text[1:]; rest != nil; {
		var segment []byte
		segment, rest = cutSegment(rest, l)
		switch {
		case string(segment) == "..":
			reading = reading[:max(0, bytes.LastIndexByte(reading, '/'))]
		case string(segment) != "." && !(l&mergeSlashes != 0 && len(segment) == 0):
			reading = append(append(reading, '/'), segment...)
		}
	}
	if len(reading) == 0 {
		return append(reading, '/')
	}
	return reading
}

// cutSegment returns the first segment of b and what is behind its slash, nil if it is the last.
func cutSegment(b []byte, l leniency) (segment, rest []byte) {
	end, after := len(b), len(b)+1
	for i, c := range b {
		if c == '/' || c == '\\' && l&backslashIsSlash != 0 {
			end, after = min(end, i), i+1
			break
		}
		if l&stripParams != 0 && endsSegment(c) {
			end = min(end, i)
		}
	}
	if after > len(b) {
		return b[:end], nil
	}
	return b[:end], b[after:]
}

// unescape decodes the escapes of unreserved characters (RFC 3986 §2.3), or all escapes.
func unescape(path []byte, all bool) []byte {
	if bytes.IndexByte(path, '%') < 0 {
		return path
	}
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) && http1.HexValue(path[i+1]) >= 0 && http1.HexValue(path[i+2]) >= 0 {
			if d := byte(http1.HexValue(path[i+1])<<4 | http1.HexValue(path[i+2])); all || unreservedByte[d] {
				c = d
				i += 2
			}
		}
		b = append(b, c)
	}
	return b
}

var unreservedByte = http1.ByteSetOf("-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
