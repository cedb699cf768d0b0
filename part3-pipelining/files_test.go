package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part3-pipelining/http1"
)

// serveFiles starts a server for a new directory with these files; their names
// may contain slashes.
func serveFiles(t testing.TB, dotted bool, files map[string]string) (addr, dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	public, err := filesRoute(dir, dotted)
	require.NoError(t, err)
	return startServer(t, withHandler(routes(public))).addr, dir
}

// strongTag waits until the ETag of the file at path is strong, and returns it.
func strongTag(t testing.TB, addr, path string) (tag string) {
	t.Helper()
	eventually(t, "the file has been unchanged long enough for a strong ETag", func() bool {
		tag = sendAndRead(t, addr, "", "", get(path, closeField)).wantFramed(t).fields["etag"]
		return strings.HasPrefix(tag, `"`)
	})
	return tag
}

const ruleStrongETag = "MUST, RFC 9110 §8.8.1: a strong tag changes whenever the bytes do"

func TestStrongETagChangesWithTheBytesWhenSizeAndDateDoNot(t *testing.T) {
	t.Parallel()
	addr, dir := serveFiles(t, false, map[string]string{"a.txt": "0123456789"})
	file := filepath.Join(dir, "a.txt")
	before := strongTag(t, addr, "/files/a.txt")
	info, err := os.Stat(file)
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(file, []byte("abcdefghij"), 0o600))
	require.NoError(t, os.Chtimes(file, info.ModTime(), info.ModTime()))

	s := sendAndRead(t, addr, ruleStrongETag, "files.go, entityTag", get("/files/a.txt", closeField, "Range: bytes=2-4\r\nIf-Range: "+before+"\r\n"))
	s.wantPrefix(t, "HTTP/1.1 200 ")
	assert.Equal(t, "abcdefghij", s.wantFramed(t).body, "the client would combine parts of two versions")
	sendAndRead(t, addr, ruleStrongETag, "files.go, entityTag", get("/files/a.txt", closeField, "If-None-Match: "+before+"\r\n")).wantPrefix(t, "HTTP/1.1 200 ")
}

// A file that replaces another, with the same size and date: mv, ln -sfn.
func TestStrongETagChangesWhenTheFileIsReplaced(t *testing.T) {
	t.Parallel()
	addr, dir := serveFiles(t, false, map[string]string{"one": "0123456789", "two": "abcdefghij"})
	link := filepath.Join(dir, "now")
	require.NoError(t, os.Symlink("one", link))
	before := strongTag(t, addr, "/files/now")
	strongTag(t, addr, "/files/two")

	require.NoError(t, os.Remove(link))
	require.NoError(t, os.Symlink("two", link))

	sendAndRead(t, addr, ruleStrongETag, "files.go, entityTag", get("/files/now", closeField, "If-None-Match: "+before+"\r\n")).wantPrefix(t, "HTTP/1.1 200 ")
}

// A file just written may be written again within the same tick of the
// filesystem's clock: its tag is weak, good only for If-None-Match.
func TestETagOfARecentlyChangedFileIsWeak(t *testing.T) {
	t.Parallel()
	addr, dir := serveFiles(t, false, map[string]string{"a.txt": "0123456789"})
	var tag string
	eventually(t, "the tag of a file that was just written is weak", func() bool { // on the first try, unless the machine stalls for a second
		require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("0123456789"), 0o600))
		tag = sendAndRead(t, addr, ruleStrongETag, "files.go, entityTag", get("/files/a.txt", closeField)).wantFramed(t).fields["etag"]
		return strings.HasPrefix(tag, `W/"`)
	})

	whole := sendAndRead(t, addr, "MUST NOT, RFC 9110 §13.1.5: no range for a weak tag", "files.go, ifRangeMatches", get("/files/a.txt", closeField, "Range: bytes=2-4\r\nIf-Range: "+tag+"\r\n"))
	whole.wantPrefix(t, "HTTP/1.1 200 ")
	sendAndRead(t, addr, "MUST, RFC 9110 §13.1.1: If-Match uses the strong comparison", "files.go, matchesETag", get("/files/a.txt", closeField, "If-Match: "+tag+"\r\n")).wantPrefix(t, "HTTP/1.1 412 ")
	unchanged := get("/files/a.txt", closeField, "If-None-Match: "+strings.TrimPrefix(tag, "W/")+"\r\n")
	sendAndRead(t, addr, "MUST, RFC 9110 §13.1.2: If-None-Match uses the weak comparison", "files.go, matchesETag", unchanged).wantPrefix(t, "HTTP/1.1 304 ")
}

func TestLastModifiedIsNeverLaterThanDate(t *testing.T) {
	t.Parallel()
	addr, dir := serveFiles(t, false, map[string]string{"a.txt": "0123456789"})
	for _, ahead := range []time.Duration{time.Hour, 0} { // 0: the cached Date may be slightly old
		changed := time.Now().Add(ahead)
		require.NoError(t, os.Chtimes(filepath.Join(dir, "a.txt"), changed, changed))

		s := sendAndRead(t, addr, "MUST NOT, RFC 9110 §8.8.2.1: Last-Modified is never later than Date", "files.go, earlierOf", get("/files/a.txt", closeField))

		fields := s.wantFramed(t).fields
		modified, err := time.Parse(http1.DateFormat, fields["last-modified"])
		require.NoError(t, err)
		date, err := time.Parse(http1.DateFormat, fields["date"])
		require.NoError(t, err)
		if modified.After(date) {
			s.fail(t, strings.Index(s.got, "Last-Modified"), "Last-Modified is %s, and Date %s", fields["last-modified"], fields["date"])
		}
	}
}

func TestRedirectOfADirectoryKeepsTheQuery(t *testing.T) {
	t.Parallel()
	addr, _ := serveFiles(t, false, map[string]string{"sub/index.html": "<p>"})
	for target, want := range map[string]string{
		"/files/sub":           "/files/sub/",
		"/files/sub?a=b&c=%20": "/files/sub/?a=b&c=%20",
		"/files/sub?":          "/files/sub/?",
	} {
		s := sendAndRead(t, addr, "house rule: a redirect preserves the query", "files.go, slashTarget", get(target, closeField))

		s.wantPrefix(t, "HTTP/1.1 301 ")
		s.wantSame(t, "Location", want, s.parse(t).fields["location"])
	}
}

func TestDotfilesAreServedOnlyWithTheFlag(t *testing.T) {
	t.Parallel()
	files := map[string]string{".env": "SECRET=1", ".git/config": "[core]", "sub/.htpasswd": "me:x", "a.b/c..d": "fine"}
	hidden := []string{"/files/.env", "/files/%2eenv", "/files/.git", "/files/.git/config", "/files/sub/.htpasswd", "/files/sub%2F.htpasswd"}
	const rule, look = "house rule: files whose names begin with a dot are not served", "files.go, filesRoute"

	addr, _ := serveFiles(t, false, files)
	for _, path := range hidden {
		s := sendAndRead(t, addr, rule, look, get(path, closeField))
		s.wantPrefix(t, "HTTP/1.1 404 ")
		assert.NotContains(t, s.got, "Location", "%s: a redirect reveals that it exists", path)
	}
	sendAndRead(t, addr, rule, look, get("/files/a.b/c..d", closeField)).wantPrefix(t, "HTTP/1.1 200 ")

	addr, _ = serveFiles(t, true, files)
	for _, path := range hidden {
		if s := sendAndRead(t, addr, rule, look, get(path, closeField)); !strings.HasPrefix(s.got, "HTTP/1.1 301 ") { // .git is a directory
			s.wantPrefix(t, "HTTP/1.1 200 ")
		}
	}
	for _, path := range []string{"/files/../files_test.go", "/files/" + url.PathEscape("../") + "x"} {
		sendAndRead(t, addr, "house rule: nothing outside the root is served", look, get(path, closeField)).wantPrefix(t, "HTTP/1.1 404 ")
	}
}
