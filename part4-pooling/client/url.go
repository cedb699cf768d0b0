package client

import (
	"fmt"
	"strings"

	"socketup/part4-pooling/http1"
)

// An httpURL is an http URL, taken apart: whom to connect to, and what to ask for.
type httpURL struct {
	Addr   string // host and port
	Host   string // for the Host field: the port is left out if the URL has none
	Target string // path and query as a request line can carry them; "/" without
}

// ParseURL reads http://HOST[:PORT][/PATH][?QUERY], RFC 9110 §4.2.1, and refuses
// what no request can tell a server: a user would have to become a field, a
// fragment is never sent.
func ParseURL(s string) (httpURL, error) {
	const scheme = "http://"
	if len(s) < len(scheme) || !http1.EqualFold([]byte(s[:len(scheme)]), scheme) {
		return httpURL{}, fmt.Errorf("bad URL %q: want http:// first", s)
	}
	authority, target := s[len(scheme):], ""
	if end := strings.IndexAny(authority, "/?#"); end >= 0 {
		authority, target = authority[:end], authority[end:]
	}
	switch {
	case strings.Contains(authority, "@"):
		return httpURL{}, fmt.Errorf("bad URL %q: a user or a password is not sent", s)
	case strings.Contains(target, "#"):
		return httpURL{}, fmt.Errorf("bad URL %q: a fragment (#…) is not sent", s)
	}
	addr := strings.TrimSuffix(authority, ":")
	if colon := strings.LastIndexByte(addr, ':'); colon <= strings.LastIndexByte(addr, ']') {
		addr += ":80" // RFC 9110 §4.2.1
	}
	if _, _, err := splitHostPort(addr); err != nil {
		return httpURL{}, fmt.Errorf("bad URL %q: %w", s, err)
	}
	if target == "" || target[0] == '?' {
		target = "/" + target
	}
	return httpURL{addr, authority, EscapeTarget(target)}, nil
}

// EscapeTarget percent-encodes what path and query cannot hold as it is (RFC 3986 §3.3,
// §3.4): a space in it would end the target, and the rest be taken for a version.
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
