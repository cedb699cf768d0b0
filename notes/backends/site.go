package backends

import (
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A site answers as the package comment says.
type site struct {
	whole   bool // /echo reads all before it answers, as some proxies need it
	mu      sync.Mutex
	posts   map[string]int
	meeting map[string]*meeting
}

// A meeting is of requests that wait for each other.
type meeting struct {
	missing int
	all     chan struct{} // closed when none is missing
}

func newSite() *site { return &site{posts: map[string]int{}, meeting: map[string]*meeting{}} }

func (s *site) handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { text(w, Hello) })
	m.HandleFunc("GET /id/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		text(w, ID(n))
	})
	m.HandleFunc("GET /big", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(Big)))
		w.Write(Big)
	})
	m.HandleFunc("POST /echo", s.echo)
	m.HandleFunc("POST /once/{id}", s.once)
	m.HandleFunc("GET /trailers", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Etag")
		io.WriteString(w, "body\n")
		w.(http.Flusher).Flush()
		w.Header().Set("Etag", `"42"`)
	})
	m.HandleFunc("GET /early", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		text(w, Hello)
	})
	m.HandleFunc("GET /sleep/{ms}", func(w http.ResponseWriter, r *http.Request) {
		ms, _ := strconv.Atoi(r.PathValue("ms"))
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
		case <-r.Context().Done():
		}
		text(w, Hello)
	})
	m.HandleFunc("GET /meet/{n}", s.meet)
	return m
}

func (s *site) echo(w http.ResponseWriter, r *http.Request) {
	var body io.Reader = r.Body
	if s.whole {
		all, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		body = bytes.NewReader(all)
	}
	w.WriteHeader(200)
	if _, err := io.Copy(w, body); err != nil {
		panic(http.ErrAbortHandler) // else the response ends as if it were whole
	}
}

func text(w http.ResponseWriter, s string) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(s)))
	io.WriteString(w, s)
}

func (s *site) once(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	s.mu.Lock()
	s.posts[id]++
	s.mu.Unlock()
	io.Copy(io.Discard, r.Body)
	text(w, id)
}

func (s *site) seen() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.posts)
}

// meet waits until n requests wait, or the request's client has gone.
func (s *site) meet(w http.ResponseWriter, r *http.Request) {
	n := r.PathValue("n")
	s.mu.Lock()
	m := s.meeting[n]
	if m == nil {
		size, _ := strconv.Atoi(n)
		m = &meeting{size, make(chan struct{})}
		s.meeting[n] = m
	}
	if m.missing--; m.missing == 0 {
		close(m.all)
		delete(s.meeting, n)
	}
	s.mu.Unlock()
	select {
	case <-m.all:
		text(w, Hello)
	case <-r.Context().Done():
	}
}

// forwardTo starts an HTTP/1.1 server of the site in this process, and returns its address.
func (b *Backend) forwardTo() (string, error) {
	b.site = newSite()
	b.site.whole = true
	b.posts = b.site.seen
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: b.site.handler()}
	go server.Serve(l) // until Close
	b.onClose(func() { server.Close() })
	return l.Addr().String(), nil
}

// writeFiles writes the part of the site that a file server can serve.
func (b *Backend) writeFiles() (string, error) {
	root := filepath.Join(b.dir, "site")
	files := map[string]string{"index.html": Hello, "big": string(Big), "trailers": "body\n"}
	for n := range IDs {
		files["id/"+strconv.Itoa(n)] = ID(n)
	}
	if err := os.MkdirAll(filepath.Join(root, "id"), 0o755); err != nil {
		return "", err
	}
	for name, body := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(body), 0o644); err != nil {
			return "", err
		}
	}
	return root, os.Chmod(b.dir, 0o755) // for a server that gives up root's rights
}

// fill puts values for {names} into a configuration, and writes it to a file.
func (b *Backend) fill(name, config string, values ...string) (string, error) {
	file := filepath.Join(b.dir, name)
	return file, os.WriteFile(file, []byte(strings.NewReplacer(values...).Replace(config)), 0o644)
}
