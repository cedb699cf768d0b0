package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"mime"
	"net/url"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/server"
)

// Files under /files/, for serve -root: conditional requests, byte ranges, and
// entity tags that change with the bytes.

// filesRoute serves the files of dir. os.Root refuses ".." and symbolic links
// that lead out of it. Unless dotted is true, a path with a segment that begins
// with a dot is 404: many directories contain .git, .env or .htpasswd, which no
// client should read.
func filesRoute(dir string, dotted bool) (route, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return route{}, fmt.Errorf("-root: %w", err)
	}
	return route{"/files/", []string{"GET", "HEAD"}, func(w *server.Response, r *server.Request, rest []byte) {
		name, err := url.PathUnescape(string(rest))
		switch {
		case err != nil || strings.ContainsRune(name, 0):
			w.Error(400, "the path is badly escaped")
		case !dotted && strings.Contains("/"+name, "/."):
			w.Error(404, notFoundText)
		default:
			serveFile(w, r, root, name)
		}
	}}, nil
}

const notFoundText = "there is no such file"

func serveFile(w *server.Response, r *server.Request, root *os.Root, name string) {
	if name == "" || strings.HasSuffix(name, "/") {
		name += "index.html"
	}
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		respondOpenError(w, err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		respondOpenError(w, err)
	case info.IsDir():
		w.Status = 301
		w.AddField("Location", slashTarget(r))
	case !info.Mode().IsRegular(): // reading a named pipe could block for ever
		w.Error(404, notFoundText)
	default:
		sendFile(w, r, f, info)
	}
}

// respondOpenError distinguishes a file that does not exist from one that
// cannot be opened now. Caches and search engines would remember a 404 for the
// latter.
func respondOpenError(w *server.Response, err error) {
	var errno syscall.Errno
	errors.As(err, &errno)
	switch errno {
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM: // temporary: until a descriptor is closed
		w.AddField("Retry-After", "1")
		w.Error(503, "the server has too many files open")
	case unix.EACCES, unix.EPERM:
		w.Error(403, "the server may not read this file")
	case 0, unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENAMETOOLONG, unix.ENXIO: // 0: a path that leads out of the root; ENXIO: a socket
		w.Error(404, notFoundText)
	default:
		w.Log().Error("open", "error", err)
		w.Error(500, "the file cannot be read")
	}
}

// slashTarget returns the target of r with a slash appended to its path, before
// the query: relative links in a directory's page resolve against it.
func slashTarget(r *server.Request) string {
	if r.Query == nil {
		return string(r.Path) + "/"
	}
	return string(r.Path) + "/?" + string(r.Query)
}

// sendFile sends a file, one range of it, or a response without content when a
// precondition says so (304, 412, 416).
func sendFile(w *server.Response, r *server.Request, f *os.File, info fs.FileInfo) {
	tag, modified := entityTag(info, time.Now()), earlierOf(info.ModTime(), w.Date())
	w.AddField("ETag", tag)
	w.AddField("Last-Modified", modified.UTC().Format(http1.DateFormat))
	w.AddField("Accept-Ranges", "bytes")
	if w.Status = checkPreconditions(r, tag, modified); w.Status != 0 {
		return
	}
	kind := mime.TypeByExtension(path.Ext(info.Name()))
	if kind == "" {
		kind = "application/octet-stream"
	}
	w.AddField("Content-Type", kind)
	first, length := int64(0), info.Size()
	if asked := r.Get("range"); asked != nil && string(r.Method) == "GET" && ifRangeMatches(r, tag) {
		from, n, ok := parseRange(string(asked), info.Size())
		switch {
		case ok && n == 0:
			w.AddField("Content-Range", fmt.Sprintf("bytes */%d", info.Size()))
			w.Status = 416
			return
		case ok:
			w.Status, first, length = 206, from, n
			w.AddField("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+n-1, info.Size()))
		}
	}
	w.SetLength(length)
	w.Status = max(w.Status, 200) // an empty file is never written
	if string(r.Method) == "HEAD" {
		return
	}
	io.Copy(struct{ io.Writer }{w}, io.NewSectionReader(f, first, length))
}

// entityTag returns a strong tag: it changes with the bytes. Size and mtime do
// not suffice, because touch(1), tar(1) and rsync(1) set the mtime back. No
// program can set the ctime back, and a file or link that replaces another has
// a different inode. The tag is a hash of all of them, so that it reveals
// nothing about the disk.
//
// A filesystem's clock advances in ticks of 4 ms to a second, though: two
// writes within one tick leave the same ctime. So a file that has just changed,
// and could change again unnoticed, gets a weak tag; a client then does not
// request ranges of it (If-Range), which might not fit together.
//
// One kind of write goes unnoticed even so: a write through a shared mapping
// (mmap(2)), until the kernel writes the page back or a program calls msync(2).
// Do not serve files that are written that way.
func entityTag(info fs.FileInfo, now time.Time) string {
	device, inode, changed := fileIdentity(info)
	sum := fnv.New64a()
	fmt.Fprint(sum, device, inode, changed.UnixNano())
	tag := fmt.Sprintf(`"%x-%x"`, info.Size(), sum.Sum64())
	if now.Sub(changed) < fileClockTick {
		return "W/" + tag
	}
	return tag
}

const fileClockTick = time.Second // of the coarsest filesystem clock that has a ctime: NFS and ext3; ext4 and XFS have 1 to 10 ms

// earlierOf returns the earlier of t and date: Last-Modified must not be later
// than the response's Date (RFC 9110 §8.8.2.1).
func earlierOf(t, date time.Time) time.Time {
	if t.After(date) {
		return date
	}
	return t
}

// checkPreconditions evaluates the preconditions of r in the order of RFC 9110
// §13.2.2. It returns the status to respond with when one is false, and 0 when
// all hold. Tags take precedence over dates, which have a resolution of a
// second.
func checkPreconditions(r *server.Request, tag string, modified time.Time) (status int) {
	modified = modified.Truncate(time.Second)
	if same, asked := matchesETag(r, "if-match", tag, false); asked && !same {
		return 412
	} else if until, ok := dateField(r, "if-unmodified-since"); !asked && ok && modified.After(until) {
		return 412
	}
	if same, asked := matchesETag(r, "if-none-match", tag, true); asked && same {
		return 304
	} else if since, ok := dateField(r, "if-modified-since"); !asked && ok && !modified.After(since) {
		return 304
	}
	return 0
}

// matchesETag reports whether the field named list is present (asked) and
// whether it contains tag (named). With weak false it uses the strong
// comparison, in which a weak tag matches nothing (RFC 9110 §8.8.3.2).
func matchesETag(r *server.Request, list, tag string, weak bool) (named, asked bool) {
	if weak {
		tag = strings.TrimPrefix(tag, "W/")
	}
	for _, f := range r.Fields {
		if !http1.EqualFold(f.Name, list) {
			continue
		}
		asked = true
		for t := range bytes.SplitSeq(f.Value, []byte(",")) {
			if t = http1.TrimSpace(t); weak {
				t = bytes.TrimPrefix(t, []byte("W/"))
			}
			named = named || string(t) == tag && tag[0] == '"' || string(t) == "*"
		}
	}
	return named, asked
}

// dateField parses the field name as an HTTP date. ok is false when the field
// is absent or not a valid date; the caller then ignores it.
func dateField(r *server.Request, name string) (time.Time, bool) {
	return http1.ParseDate(string(r.Get(name)), time.Now())
}

// ifRangeMatches reports whether a range may be sent: when r has no If-Range,
// or when If-Range is tag and tag is strong (RFC 9110 §13.1.5).
func ifRangeMatches(r *server.Request, tag string) bool {
	condition := r.Get("if-range")
	return condition == nil || string(condition) == tag && tag[0] == '"'
}

// parseRange parses a Range field with one byte range (RFC 9110 §14.1.2). When
// ok is false the caller ignores the field, which is always allowed. A length
// of 0 means that the range is not satisfiable.
func parseRange(s string, size int64) (first, length int64, ok bool) {
	spec, found := strings.CutPrefix(s, "bytes=")
	from, to, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !found || !dash {
		return 0, 0, false
	}
	if from == "" { // the last n bytes
		n, ok := http1.ParseNumber([]byte(to))
		n = min(n, size)
		return size - n, n, ok
	}
	first, ok = http1.ParseNumber([]byte(from))
	last := size - 1
	if to != "" && ok {
		last, ok = http1.ParseNumber([]byte(to))
		if ok && last < first {
			return 0, 0, false
		}
	}
	if !ok || first >= size {
		return 0, 0, ok
	}
	return first, min(last, size-1) - first + 1, true
}
