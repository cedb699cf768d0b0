package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// scarce starts `serve` with 64 descriptors.
func scarce(t testing.TB, args ...string) (addr string, logged *bufio.Reader) {
	t.Helper()
	cmd := program(t)
	cmd.Args = append([]string{"sh", "-c", `ulimit -n 64; exec "$0" serve -addr 127.0.0.1:0 "$@"`, cmd.Path}, args...)
	cmd.Path = "/bin/sh"
	addr, logged = startProgram(t, cmd)
	return addr, logged
}

// fillUp connects until no further client is served. All stay connected.
func fillUp(t testing.TB, addr string) {
	t.Helper()
	for range 100 {
		c := converse(t, addr, get("/here"))
		c.SetReadDeadline(time.Now().Add(300 * time.Millisecond)) // a slow machine makes a small crowd
		if _, err := io.ReadFull(c, make([]byte, 12)); errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
	t.Fatal("100 clients are served by a program of 64 descriptors, at once")
}

const descriptorRule = "house rule: clients cannot have the descriptors that their requests need"

func TestCrowdLeavesDescriptorsForFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "page"), []byte("page\n"), 0o600))
	addr, logged := scarce(t, "-root", dir)
	c := converse(t, addr, "GET /files/page HTTP/1.1\r\nHost: x\r\n") // the rest comes later: it is not idle

	fillUp(t, addr)

	io.WriteString(c, closing+"\r\n")
	story{rule: descriptorRule, look: "descriptors.go"}.hear(c).begins(t, "HTTP/1.1 200 OK\r\n")
	logs(t, logged, "connections are capped")
}
