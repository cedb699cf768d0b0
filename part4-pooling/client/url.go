package client

import (
	"fmt"
	"strings"

	"socketup/part4-pooling/http1"
)

// A URL is an http URL in parts: the server to connect to, and the target to
// request.
type URL struct {
	Addr   string // host and port
	Host   string // for the Host field: the port is left out if the URL has none
	Target string // path and query, escaped for a request line; "/" if the URL has none
}

// ParseURL parses http://HOST[:PORT][/PATH][?QUERY] (RFC 9110 §4.2.1). It rejects
// userinfo, which would have to become an Authorization field, and a fragment,
// which is never sent.
func ParseURL(s string) (URL, error) {
	const scheme = "http://"
	if len(s) < len(scheme) || !http1.EqualFold([]byte(s[:len(scheme)]), scheme) {
		return URL{}, fmt.Errorf("bad URL %q: want http:// first", s)
	}
	authority, target := s[len(scheme):], ""
	if end := strings.IndexAny(authority, "/?#"); end >= 0 {
		authority, target = authority[:end], authority[end:]
	}
	switch {
	case strings.Contains(authority, "@"):
		return URL{}, fmt.Errorf("bad URL %q: a user or a password is not sent", s)
	case strings.Contains(target, "#"):
		return URL{}, fmt.Errorf("bad URL %q: a fragment (#…) is not sent", s)
	}
	addr := strings.TrimSuffix(authority, ":")
	if colon := strings.LastIndexByte(addr, ':'); colon <= strings.LastIndexByte(addr, ']') {
		addr += ":80" // RFC 9110 §4.2.1
	}
	if _, _, err := splitHostPort(addr); err != nil {
		return URL{}, fmt.Errorf("bad URL %q: %w", s, err)
	}
	if target == "" || target[0] == '?' {
		target = "/" + target
	}
	return URL{addr, authority, EscapeTarget(target)}, nil
}

// EscapeTarget percent-encodes the bytes that a path or a query cannot contain (RFC
// 3986 §3.3, §3.4) and leaves existing escapes alone. A raw space would end the
// target in the request line, and the server would read the rest as the version.
func EscapeTarget(target string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(target) {
		c := target[i]
		escaped := c == '%' && i+2 < len(target) && http1.HexValue(target[i+1]) >= 0 && http1.HexValue(target[i+2]) >= 0
		if escaped || targetByte[c] {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

var targetByte = http1.ByteSetOf("-._~!$&'()*+,;=:@/?0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
