package gateway

import (
	"bytes"

	"socketup/part4-pooling/http1"
)

// A path decides who answers, so the gateway and the backend must read it alike.
// They need not: to us /public/..;/admin is a path below /public, and a backend
// that takes it for /admin answers what another backend, or nobody, should have.
// Which of the readings is right cannot be told from here. So a path passes only
// if it belongs to the same backend however it is read; paths themselves are never
// rewritten.

// mayBeAmbiguous says whether path has another reading than the one as it is. Most have
// none, and cost no more than this look.
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

// anyReading says whether one of path's readings is for another backend.
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

// leniency is how a careless program reads a path. Each does it in its own way, so
// all ways are tried, together and apart.
type leniency int

const (
	decodeAll        leniency = 1 << iota // all escapes, before the path is split
	decodeTwice                           // %252e is . too
	backslashIsSlash                      // \ is /
	stripParams                           // what follows ; or a blank, or a NUL, is no part of a segment
	mergeSlashes                          // // is one
	allLeniencies
)

// normalizePath is path as RFC 3986 §6.2.2 normalises it, unreserved characters not escaped and
// dot segments removed, and as loosely as l says.
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

// unescape decodes unreserved characters (RFC 3986 §2.3), or all.
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
