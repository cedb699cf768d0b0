package gateway

import (
	"errors"
	"fmt"
	"strings"

	"socketup/part4-pooling/client"
)

// A Backend is a server for one path and all paths below it.
type Backend struct {
	Path   string // begins with /; "/a" covers /a and /a/b, but not /ab
	Addr   string // HOST:PORT; a name is resolved when a connection is dialled, and cached for 5 s
	Engine bool   // requests are offloaded to engines (offload.go)
	HTTP2  bool   // it speaks HTTP/2, and all clients share its connections (streams.go); Engine is true too
}

// normalized returns b without a trailing slash in its path: /a/ covers the same paths
// as /a.
func (b Backend) normalized() Backend {
	if len(b.Path) > 1 {
		b.Path = strings.TrimSuffix(b.Path, "/")
	}
	return b
}

// ParseBackend parses the argument of -backend, [PATH=]URL. Without PATH it is /. The URL is
// http://HOST[:PORT], because paths and queries are forwarded unchanged. The error quotes s
// and says what is wanted.
func ParseBackend(s string) (Backend, error) {
	b, err := parseBackend(s)
	if err != nil {
		err = fmt.Errorf("bad backend %q: %w; want http://localhost:9000 or /path=http://localhost:9000", s, err)
	}
	return b, err
}

// ParseEngine parses the argument of -engine: as ParseBackend, but the URL may also begin
// with h2c://, for a backend that speaks HTTP/2 over cleartext TCP without having been asked
// to ("prior knowledge", RFC 9113 §3.3).
func ParseEngine(s string) (Backend, error) {
	path, url, hasPath := strings.Cut(s, "=")
	if !hasPath || !strings.HasPrefix(s, "/") {
		path, url = "/", s
	}
	host, http2 := strings.CutPrefix(url, "h2c://")
	if http2 {
		url = "http://" + host
	}
	b, err := parseBackend(path + "=" + url)
	if b.Engine, b.HTTP2 = true, http2; err != nil {
		err = fmt.Errorf("bad engine %q: %w; want http://localhost:9000, or h2c://localhost:9000 for HTTP/2, or /path= before either", s, err)
	}
	return b, err
}

func parseBackend(s string) (Backend, error) {
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
		return Backend{}, err
	}
	return Backend{Path: path, Addr: u.Addr}.normalized(), nil
}

// validatePath rejects a path that no request can have, or that the gateway would
// refuse as ambiguous (pathconfusion.go) in every request.
func validatePath(path string) error {
	another := func(reading []byte) bool { return string(reading) != strings.TrimSuffix(path, "/") }
	if strings.ContainsAny(path, "?%") || strings.HasSuffix(path, "//") || client.EscapeTarget(path) != path || anyReading([]byte(path), another) {
		return fmt.Errorf("no request has the path %q: want no query, no escapes, no //, ; or dot segments", path)
	}
	return nil
}

// ValidateBackends returns an error if two backends have the same path, because one of
// them would never get a request, or if one address is to speak two protocols.
func ValidateBackends(all []Backend) error {
	for i, a := range all {
		for _, b := range all[:i] {
			if a.Path == b.Path {
				return fmt.Errorf("the path %s has two backends, %s and %s: want one", a.Path, b, a)
			}
			if a.Addr == b.Addr && a.HTTP2 != b.HTTP2 {
				return fmt.Errorf("%s and %s are one server: want one protocol for it, because a kept connection speaks only one", b, a)
			}
		}
	}
	return nil
}

// String formats b as the command-line flag that sets it.
func (b Backend) String() string {
	if b.HTTP2 {
		return "-engine " + b.Path + "=h2c://" + b.Addr
	}
	if b.Engine {
		return "-engine " + b.Path + "=http://" + b.Addr
	}
	return "-backend " + b.Path + "=http://" + b.Addr
}
