package gateway

import (
	"bytes"

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

// anyReading reports whether other is true for any reading of path.
func anyReading(path []byte, other func(reading []byte) bool) bool {
	if !mayBeAmbiguous(path) {
		return false
	}
	for l := range leniency(allLeniencies) {
		if other(normalizePath(path, l)) {
			return true
		}
	}
	return false
}

// A leniency is a set of liberties that some program takes when it reads a path.
// Programs combine them differently, so all combinations are tried.
type leniency int

const (
	decodeAll        leniency = 1 << iota // decode all escapes, before the path is split into segments
	decodeTwice                           // %252e is a dot too
	backslashIsSlash                      // \ is /
	stripParams                           // a segment ends at ; or at a space or control byte
	mergeSlashes                          // // is /
	allLeniencies
)

// normalizePath normalizes path as RFC 3986 §6.2.2 does (escapes of unreserved characters
// decoded, dot segments removed), with the liberties in l. It returns a new slice.
func normalizePath(path []byte, l leniency) []byte {
	path = unescape(path, l&decodeAll != 0)
	if l&decodeTwice != 0 {
		path = unescape(path, l&decodeAll != 0)
	}
	if l&backslashIsSlash != 0 {
		path = bytes.ReplaceAll(path, []byte(`\`), []byte("/"))
	}
	var segments [][]byte
	for segment := range bytes.SplitSeq(path[1:], []byte("/")) {
		if l&stripParams != 0 {
			if end := bytes.IndexFunc(segment, func(c rune) bool { return c == ';' || c <= ' ' }); end >= 0 {
				segment = segment[:end]
			}
		}
		switch {
		case string(segment) == "..":
			segments = segments[:max(0, len(segments)-1)]
		case string(segment) != "." && !(l&mergeSlashes != 0 && len(segment) == 0):
			segments = append(segments, segment)
		}
	}
	return append([]byte("/"), bytes.Join(segments, []byte("/"))...)
}

// unescape decodes the escapes of unreserved characters (RFC 3986 §2.3), or all escapes.
func unescape(path []byte, all bool) []byte {
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
