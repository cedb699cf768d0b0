package main

import (
	"errors"
	"fmt"
	"strings"
)

// A location is an http URL, taken apart: whom to connect to, and what to ask for.
type location struct {
	addr   string // host and port
	host   string // for the Host field: the port is left out if the URL has none
	target string // path and query as a request line can carry them; "/" without
}

// parseURL reads http://HOST[:PORT][/PATH][?QUERY], RFC 9110 §4.2.1, and refuses
// what no request can tell a server: a user would have to become a field, a
// fragment is never sent.
func parseURL(s string) (location, error) {
	const scheme = "http://"
	if len(s) < len(scheme) || !equalFold([]byte(s[:len(scheme)]), scheme) {
		return location{}, fmt.Errorf("bad URL %q: want http:// first", s)
	}
	authority, target := s[len(scheme):], ""
	if end := strings.IndexAny(authority, "/?#"); end >= 0 {
		authority, target = authority[:end], authority[end:]
	}
	switch {
	case strings.Contains(authority, "@"):
		return location{}, fmt.Errorf("bad URL %q: a user or a password is not sent", s)
	case strings.Contains(target, "#"):
		return location{}, fmt.Errorf("bad URL %q: a fragment (#…) is not sent", s)
	}
	addr := strings.TrimSuffix(authority, ":")
	if colon := strings.LastIndexByte(addr, ':'); colon <= strings.LastIndexByte(addr, ']') {
		addr += ":80" // RFC 9110 §4.2.1
	}
	if _, _, err := splitAddr(addr); err != nil {
		return location{}, fmt.Errorf("bad URL %q: %w", s, err)
	}
	if target == "" || target[0] == '?' {
		target = "/" + target
	}
	return location{addr, authority, escape(target)}, nil
}

// escape percent-encodes what path and query cannot hold as it is (RFC 3986 §3.3,
// §3.4): a space in it would end the target, and the rest be taken for a version.
func escape(target string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(target) {
		c := target[i]
		escaped := c == '%' && i+2 < len(target) && hexDigit(target[i+1]) >= 0 && hexDigit(target[i+2]) >= 0
		if escaped || pathByte[c] {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

var pathByte = setOf("-._~!$&'()*+,;=:@/?0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

// parsePrefix reads [PATH=]URL, a backend and the paths that it answers for.
func parsePrefix(s string) (prefix, error) {
	path, rest := "/", s
	if strings.HasPrefix(s, "/") {
		path, rest, _ = strings.Cut(s, "=")
	}
	u, err := parseURL(rest)
	if err == nil && u.target != "/" {
		err = errors.New("paths and queries pass as they are: the backend's URL has none")
	}
	if err == nil && len(path) > 1 {
		err = checkPath(path)
	}
	if err != nil {
		return prefix{}, fmt.Errorf("bad backend %q: %w; want http://localhost:9000 or /path=http://localhost:9000", s, err)
	}
	return prefix{path: path, addr: u.addr}.trimmed(), nil
}

// checkPath refuses a path that no request could have, or that would be refused
// as doubtful (paths.go) in every request.
func checkPath(path string) error {
	another := func(reading []byte) bool { return string(reading) != strings.TrimSuffix(path, "/") }
	if strings.ContainsAny(path, "?%") || strings.HasSuffix(path, "//") || escape(path) != path || elsewhere([]byte(path), another) {
		return fmt.Errorf("no request has the path %q: want no query, no escapes, no //, ; or dot segments", path)
	}
	return nil
}

// checkPrefixes refuses two backends for one path: one of them would never be asked.
func checkPrefixes(all []prefix) error {
	for i, a := range all {
		for _, b := range all[:i] {
			if a.path == b.path {
				return fmt.Errorf("the path %s has two backends, %s and %s: want one", a.path, b, a)
			}
		}
	}
	return nil
}

// String is p as its flag has it.
func (p prefix) String() string {
	if p.engine {
		return "-engine " + p.path + "=http://" + p.addr
	}
	return "-backend " + p.path + "=http://" + p.addr
}
