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

	"socketup/part3-pipelining/http1"
	"socketup/part3-pipelining/server"
)

// filesRoute serves the files of dir. os.Root keeps "..", and links that lead
// out of it, from being followed. Unless dotted, no file is served whose path
// has a segment that begins with a dot: .git, .env and .htpasswd lie in many a
// directory, and are for no client.
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
	case !info.Mode().IsRegular(): // reading a pipe could take for ever
		w.Error(404, notFoundText)
	default:
		sendFile(w, r, f, info)
	}
}

// respondOpenError tells a file that does not exist from one that cannot be opened
// now. A 404 for the latter would be remembered, by caches and by search engines.
func respondOpenError(w *server.Response, err error) {
	var errno syscall.Errno
	errors.As(err, &errno)
	switch errno {
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM: // until some connection is closed
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

// slashTarget is the target of r with a slash at the end of the path, in front of
// the query: relative links in the page that is there depend on it.
func slashTarget(r *server.Request) string {
	if r.Query == nil {
		return string(r.Path) + "/"
	}
	return string(r.Path) + "/?" + string(r.Query)
}

// sendFile sends a file, a part of it, or the news that it has not changed.
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

// entityTag is a strong tag: it changes with the bytes. Size and mtime do not
// suffice, for touch(1), tar(1) and rsync(1) set the mtime back. Nobody can set
// back the ctime, and a file or link that takes another's place brings another
// inode. All are hashed, so that the tag tells a stranger nothing of the disk.
//
// The clock of a filesystem has ticks, though, of 4 ms or of a second: what is
// written twice within one has the same ctime both times. So a file that has
// just changed, and may change again without a trace, has a weak tag; then its
// parts are not asked for (If-Range), because they might not fit together.
//
// One way to write leaves no trace even so: through a shared mapping (mmap(2)), until
// the kernel writes the page back or msync(2) asks for it. Files that are served are
// not for that.
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

// earlierOf is t, or date when that is earlier: a response must not say that what it
// brings was modified after it was sent (RFC 9110 §8.8.2.1).
func earlierOf(t, date time.Time) time.Time {
	if t.After(date) {
		return date
	}
	return t
}

// checkPreconditions is RFC 9110 §13.2.2: the status of a response to a request whose
// condition is not fulfilled, 0 when all are. A tag is asked before a date, which
// only knows seconds.
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

// matchesETag returns whether a list of tags is there and has tag in it. Two tags of
// which one is weak are never the same, unless all that is to be found out is that
// nothing has changed: weak (RFC 9110 §8.8.3.2).
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

// dateField is not ok without the field, or when it holds no date: then it is ignored.
func dateField(r *server.Request, name string) (time.Time, bool) {
	return http1.ParseDate(string(r.Get(name)), time.Now())
}

// ifRangeMatches says whether a part may be sent: without If-Range, or if it names tag,
// and tag is strong (RFC 9110 §13.1.5).
func ifRangeMatches(r *server.Request, tag string) bool {
	condition := r.Get("if-range")
	return condition == nil || string(condition) == tag && tag[0] == '"'
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
