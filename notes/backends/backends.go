// Package backends starts real HTTP/2 servers over cleartext, for tests and races of
// what speaks HTTP/2 to them: nginx, Apache httpd, nghttpd, Go's net/http and Node.
//
//	b, err := backends.Start("nginx", backends.Options{})
//	if errors.Is(err, backends.ErrMissing) { … } // the program is not installed
//	defer b.Close()
//	… b.Addr …
//
// Each serves the same site, as far as it can; Can says how far:
//
//	GET  /          Hello
//	GET  /id/N      ID(N), for N below IDs
//	GET  /big       Big
//	POST /echo      what it was sent
//	POST /once/ID   ID; Posts says which were seen, and how often
//	GET  /trailers  "body\n", and the trailer Etag: "42"
//	GET  /early     103 with a Link, then Hello
//	GET  /sleep/MS  Hello, after so many milliseconds
//	GET  /meet/N    Hello, when N of these requests are in progress at once
//
// A configuration stands in a temporary directory, which Close removes. What the file
// servers cannot do themselves they forward to a Go server that runs in this process.
package backends

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

const (
	Hello = "Hello, World!\n"
	IDs   = 100
)

// Big has 3 MiB, and no two lines of it are alike.
var Big = func() []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < 3<<20; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.Bytes()[:3<<20]
}()

// ID is 20 KB of the number n, so that a piece of another's body shows.
func ID(n int) string { return strings.Repeat(strconv.Itoa(n)+" ", 20_000/len(strconv.Itoa(n)+" ")) }

// ErrMissing says that a program is not installed.
var ErrMissing = errors.New("it is not installed")

// Options are for all kinds of backends; what a backend has no setting for it ignores.
type Options struct {
	Streams  int  // of one connection at a time; 0: as many as the backend allows by itself
	Requests int  // after so many a connection ends with GOAWAY; 0: as the backend does by itself
	Fast     bool // keeps no log, so that Posts of nghttpd says nothing
}

// A Backend is a server that runs until Close.
type Backend struct {
	Name string
	Addr string

	dir     string
	site    *site // what forwarded requests go to
	restart func() error
	posts   func() map[string]int
	closing []func() // the last first
}

// What a backend can do besides GET and HEAD of /, /id and /big.
var abilities = map[string][]string{
	"nginx":   {"echo", "once", "sleep", "meet", "restart", "goaway"},
	"httpd":   {"echo", "once", "sleep", "early", "restart", "http1"},
	"nghttpd": {"echo", "once", "restart", "gap"},
	"go":      {"echo", "once", "sleep", "meet", "early", "trailers", "restart", "goaway", "http1"},
	"node":    {"echo", "once", "sleep", "meet", "early", "trailers", "restart", "goaway"},
}

// Names are the kinds of backends.
var Names = []string{"nginx", "httpd", "nghttpd", "go", "node"}

// Can says whether a kind of backend has an ability: the name of a page of the site,
// or one of these:
//
//	restart  Restart works
//	gap      during a restart nothing listens, and connections end without GOAWAY
//	goaway   Options.Requests works
//	http1    it speaks HTTP/1.1 on the same port
func Can(name, ability string) bool { return slices.Contains(abilities[name], ability) }

// Start starts a backend and returns when it accepts connections.
func Start(name string, o Options) (*Backend, error) {
	b := &Backend{Name: name}
	var err error
	if b.dir, err = os.MkdirTemp("", "backend-"+name); err != nil {
		return nil, err
	}
	b.onClose(func() { os.RemoveAll(b.dir) })
	switch name {
	case "nginx":
		err = b.startNginx(o)
	case "httpd":
		err = b.startHttpd(o)
	case "nghttpd":
		err = b.startNghttpd(o)
	case "go":
		err = b.startGo(o)
	case "node":
		err = b.startNode(o)
	default:
		err = errors.New("no such backend")
	}
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return b, nil
}

// Restart replaces the server while it is in use, as its manual says. It returns when
// the new one has been told to start, and the old one to end.
func (b *Backend) Restart() error { return b.restart() }

// Posts are the IDs that /once has seen, and how often.
func (b *Backend) Posts() map[string]int { return b.posts() }

// Close stops the server and waits until it has ended.
func (b *Backend) Close() {
	for _, f := range slices.Backward(b.closing) {
		f()
	}
	b.closing = nil
}

func (b *Backend) onClose(f func()) { b.closing = append(b.closing, f) }
