package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"mime"
	"net/url"
	"path"
	"strings"

	"socketup/part3-pipelining/server"
)

// A resource is a file as it is sent.
type resource struct {
	text []byte
	kind string // its Content-Type
	tag  string // its ETag; it changes with the text
}

// kinds are the content types that the book has, so that they do not depend on the
// machine's own list.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".epub": "application/epub+zip",
}

// handler serves the files from memory; / is index.html. The handlers of two requests
// may run in parallel.
func handler(files map[string][]byte) server.Handler {
	all := map[string]resource{}
	for name, text := range files {
		kind := kinds[path.Ext(name)]
		if kind == "" {
			kind = mime.TypeByExtension(path.Ext(name))
		}
		if kind == "" {
			kind = "text/plain; charset=utf-8"
		}
		all["/"+name] = resource{text, kind, fmt.Sprintf(`"%x"`, sha256.Sum256(text))[:18] + `"`}
	}
	all["/"] = all["/index.html"]
	return func(w *server.Response, r *server.Request) {
		if method := string(r.Method); method != "GET" && method != "HEAD" {
			w.AddField("Allow", "GET, HEAD")
			w.Error(405, "the book can be read, and nothing else")
			return
		}
		name, err := url.PathUnescape(string(r.Path))
		found, ok := all[name]
		if err != nil || !ok {
			w.Error(404, "the book has no page "+strings.ToValidUTF8(string(r.Path), "?")+"; it begins at /")
			return
		}
		found.send(w, r)
	}
}

// send responds with the resource, or with 304 to a browser that has it.
func (f resource) send(w *server.Response, r *server.Request) {
	w.AddField("ETag", f.tag)
	w.AddField("Cache-Control", "no-cache") // it may be kept, and is asked for again: the book can be made anew
	if known := r.Get("if-none-match"); bytes.Contains(known, []byte(f.tag)) {
		w.Status = 304
		return
	}
	w.AddField("Content-Type", f.kind)
	w.SetLength(int64(len(f.text)))
	w.Status = 200
	if string(r.Method) != "HEAD" {
		w.Write(f.text)
	}
}
