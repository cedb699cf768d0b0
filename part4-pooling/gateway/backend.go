package gateway

import (
	"errors"
	"fmt"
	"strings"

	"socketup/part4-pooling/client"
)

// A Backend of paths, and the backend that answers for them.
type Backend struct {
	Path, Addr string
	Engine     bool // their requests are handed over (offload.go)
}

// normalized is p without a slash at its path's end: the paths below /a/ are those
// below /a.
func (p Backend) normalized() Backend {
	if len(p.Path) > 1 {
		p.Path = strings.TrimSuffix(p.Path, "/")
	}
	return p
}

// ParseBackend reads [PATH=]URL, a backend and the paths that it answers for.
func ParseBackend(s string) (Backend, error) {
	path, rest := "/", s
	if strings.HasPrefix(s, "/") {
		path, rest, _ = strings.Cut(s, "=")
	}
	u, err := client.ParseURL(rest)
	if err == nil && u.Target != "/" {
		err = errors.New("paths and queries pass as they are: the backend's URL has none")
	}
	if err == nil && len(path) > 1 {
		err = validatePath(path)
	}
	if err != nil {
		return Backend{}, fmt.Errorf("bad backend %q: %w; want http://localhost:9000 or /path=http://localhost:9000", s, err)
	}
	return Backend{Path: path, Addr: u.Addr}.normalized(), nil
}

// validatePath refuses a path that no request could have, or that would be refused
// as doubtful (pathconfusion.go) in every request.
func validatePath(path string) error {
	another := func(reading []byte) bool { return string(reading) != strings.TrimSuffix(path, "/") }
	if strings.ContainsAny(path, "?%") || strings.HasSuffix(path, "//") || client.EscapeTarget(path) != path || anyReading([]byte(path), another) {
		return fmt.Errorf("no request has the path %q: want no query, no escapes, no //, ; or dot segments", path)
	}
	return nil
}

// ValidateBackends refuses two backends for one path: one of them would never be asked.
func ValidateBackends(all []Backend) error {
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
func (p Backend) String() string {
	if p.Engine {
		return "-engine " + p.Path + "=http://" + p.Addr
	}
	return "-backend " + p.Path + "=http://" + p.Addr
}
