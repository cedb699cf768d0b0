package gateway

import (
	"errors"
	"fmt"
	"strings"

	"socketup/part4-pooling/client"
)

// A Prefix of paths, and the backend that answers for them.
type Prefix struct {
	Path, Addr string
	Engine     bool // their requests are handed over (handover.go)
}

// trimmed is p without a slash at its path's end: the paths below /a/ are those
// below /a.
func (p Prefix) trimmed() Prefix {
	if len(p.Path) > 1 {
		p.Path = strings.TrimSuffix(p.Path, "/")
	}
	return p
}

// ParsePrefix reads [PATH=]URL, a backend and the paths that it answers for.
func ParsePrefix(s string) (Prefix, error) {
	path, rest := "/", s
	if strings.HasPrefix(s, "/") {
		path, rest, _ = strings.Cut(s, "=")
	}
	u, err := client.ParseURL(rest)
	if err == nil && u.Target != "/" {
		err = errors.New("paths and queries pass as they are: the backend's URL has none")
	}
	if err == nil && len(path) > 1 {
		err = checkPath(path)
	}
	if err != nil {
		return Prefix{}, fmt.Errorf("bad backend %q: %w; want http://localhost:9000 or /path=http://localhost:9000", s, err)
	}
	return Prefix{Path: path, Addr: u.Addr}.trimmed(), nil
}

// checkPath refuses a path that no request could have, or that would be refused
// as doubtful (paths.go) in every request.
func checkPath(path string) error {
	another := func(reading []byte) bool { return string(reading) != strings.TrimSuffix(path, "/") }
	if strings.ContainsAny(path, "?%") || strings.HasSuffix(path, "//") || client.Escape(path) != path || elsewhere([]byte(path), another) {
		return fmt.Errorf("no request has the path %q: want no query, no escapes, no //, ; or dot segments", path)
	}
	return nil
}

// CheckPrefixes refuses two backends for one path: one of them would never be asked.
func CheckPrefixes(all []Prefix) error {
	for i, a := range all {
		for _, b := range all[:i] {
			if a.Path == b.Path {
				return fmt.Errorf("the path %s has two backends, %s and %s: want one", a.Path, b, a)
			}
		}
	}
	return nil
}

// String is p as its flag has it.
func (p Prefix) String() string {
	if p.Engine {
		return "-engine " + p.Path + "=http://" + p.Addr
	}
	return "-backend " + p.Path + "=http://" + p.Addr
}
