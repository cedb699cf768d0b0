package http2

import (
	"bytes"

	"socketup/part4-pooling/http1"
)

// AppendRequestFields appends to b, as AppendRequestField does, each of lines: field
// lines of HTTP/1.1, "Name: value" and CRLF. They must be valid, as those are that
// http1 parsed; a line without a colon is left out. lines hold no pseudo-field.
func AppendRequestFields(b, lines []byte) []byte {
	for len(lines) > 0 {
		var line []byte
		line, lines, _ = bytes.Cut(lines, []byte("\r\n"))
		if name, value, ok := bytes.Cut(line, []byte(":")); ok {
			b = AppendRequestField(b, name, http1.TrimSpace(value))
		}
	}
	return b
}

// AppendRequestField appends to b one field of a request, with its name in lower case
// (RFC 9113 §8.2.1), unless the field is about an HTTP/1.1 connection: Connection,
// Keep-Alive, Proxy-Connection, Transfer-Encoding, Upgrade, and TE unless it is
// "trailers" (§8.2.2). Host is left out too, because :authority says it (§8.3.1). What
// a Connection field names is for the caller to leave out.
func AppendRequestField(b, name, value []byte) []byte {
	var buf [40]byte // the longest name that browsers send, and some: no allocation
	lower := append(buf[:0], name...)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	if isConnectionField(lower) || string(lower) == "host" || string(lower) == "te" && string(value) != "trailers" {
		return b
	}
	return AppendField(b, lower, value)
}

// isConnectionField reports whether name, in lower case, belongs to an HTTP/1.1
// connection and makes a message of HTTP/2 malformed (RFC 9113 §8.2.2).
func isConnectionField(name []byte) bool {
	switch string(name) {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return true
	}
	return false
}
