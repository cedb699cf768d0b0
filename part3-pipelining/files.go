package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// filesRoute serves the files of dir. os.Root keeps "..", and links that lead
// out of it, from being followed.
func filesRoute(dir string) (route, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return route{}, fmt.Errorf("-root: %w", err)
	}
	return route{"/files/", []string{"GET", "HEAD"}, func(w *response, r *request, rest []byte) {
		name, err := url.PathUnescape(string(rest))
		if err != nil || strings.ContainsRune(name, 0) {
			w.fail(400, "the path is badly escaped")
			return
		}
		serveFile(w, r, root, name)
	}}, nil
}

func serveFile(w *response, r *request, root *os.Root, name string) {
	if name == "" || strings.HasSuffix(name, "/") {
		name += "index.html"
	}
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		w.fail(404, "there is no such file")
		return
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err == nil && info.IsDir():
		w.status = 301
		w.set("Location", string(r.path)+"/")
	case err != nil || !info.Mode().IsRegular(): // reading a pipe could take for ever
		w.fail(404, "there is no such file")
	default:
		sendFile(w, r, f, info)
	}
}

// sendFile sends a file, a part of it, or the news that it has not changed.
func sendFile(w *response, r *request, f *os.File, info fs.FileInfo) {
	tag := fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size())
	w.set("ETag", tag)
	w.set("Last-Modified", info.ModTime().UTC().Format(dateFormat))
	w.set("Accept-Ranges", "bytes")
	if w.status = condition(r, tag, info.ModTime()); w.status != 0 {
		return
	}
	kind := mime.TypeByExtension(path.Ext(info.Name()))
	if kind == "" {
		kind = "application/octet-stream"
	}
	w.set("Content-Type", kind)
	first, length := int64(0), info.Size()
	if asked := r.get("range"); asked != nil && string(r.method) == "GET" && ifRange(r, tag) {
		from, n, ok := parseRange(string(asked), info.Size())
		switch {
		case ok && n == 0:
			w.set("Content-Range", fmt.Sprintf("bytes */%d", info.Size()))
			w.status = 416
			return
		case ok:
			w.status, first, length = 206, from, n
			w.set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+n-1, info.Size()))
		}
	}
	w.size(length)
	w.status = max(w.status, 200) // an empty file is never written
	if w.bodiless() {
		return
	}
	io.Copy(struct{ io.Writer }{w}, io.NewSectionReader(f, first, length))
}

// condition is RFC 9110 §13.2.2: the status of an answer to a request whose
// condition is not fulfilled, 0 when all are. A tag is asked before a date, which
// only knows seconds.
func condition(r *request, tag string, modified time.Time) (status int) {
	modified = modified.Truncate(time.Second)
	if same, asked := namesTag(r, "if-match", tag, false); asked && !same {
		return 412
	} else if until, ok := dateOf(r, "if-unmodified-since"); !asked && ok && modified.After(until) {
		return 412
	}
	if same, asked := namesTag(r, "if-none-match", tag, true); asked && same {
		return 304
	} else if since, ok := dateOf(r, "if-modified-since"); !asked && ok && !modified.After(since) {
		return 304
	}
	return 0
}

// namesTag returns whether a list of tags is there and has tag in it. A weak tag
// is good enough to find out that nothing has changed (RFC 9110 §8.8.3.2).
func namesTag(r *request, list, tag string, weak bool) (named, asked bool) {
	for _, f := range r.fields {
		if !equalFold(f.name, list) {
			continue
		}
		asked = true
		for t := range bytes.SplitSeq(f.value, []byte(",")) {
			if t = trim(t); weak {
				t = bytes.TrimPrefix(t, []byte("W/"))
			}
			named = named || string(t) == tag || string(t) == "*"
		}
	}
	return named, asked
}

// dateOf is not ok without the field, or when it holds no date: then it is ignored.
func dateOf(r *request, name string) (time.Time, bool) {
	return parseDate(string(r.get(name)), time.Now())
}

func ifRange(r *request, tag string) bool {
	condition := r.get("if-range")
	return condition == nil || string(condition) == tag
}

// parseRange understands one range, RFC 9110 §14.1.2. Not ok means: ignore it,
// which is always allowed. A length of 0 means that nothing can satisfy it.
func parseRange(s string, size int64) (first, length int64, ok bool) {
	spec, found := strings.CutPrefix(s, "bytes=")
	from, to, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !found || !dash {
		return 0, 0, false
	}
	if from == "" { // the last n bytes
		n, ok := number([]byte(to))
		n = min(n, size)
		return size - n, n, ok
	}
	first, ok = number([]byte(from))
	last := size - 1
	if to != "" && ok {
		last, ok = number([]byte(to))
		if ok && last < first {
			return 0, 0, false
		}
	}
	if !ok || first >= size {
		return 0, 0, ok
	}
	return first, min(last, size-1) - first + 1, true
}
