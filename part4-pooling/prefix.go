package main

import (
	"errors"
	"fmt"
	"strings"
)

// A prefix of paths, and the backend that answers for them.
type prefix struct {
	path, addr string
	engine     bool // their requests are handed over (handover.go)
}

// trimmed is p without a slash at its path's end: the paths below /a/ are those
// below /a.
func (p prefix) trimmed() prefix {
	if len(p.path) > 1 {
		p.path = strings.TrimSuffix(p.path, "/")
	}
	return p
}

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
