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

// startWithFewDescriptors starts `serve` with a limit of 64 descriptors.
func startWithFewDescriptors(t testing.TB, args ...string) (addr string, logged *bufio.Reader) {
	t.Helper()
	cmd := programCommand(t)
	cmd.Args = append([]string{"sh", "-c", `ulimit -n 64; exec "$0" serve -addr 127.0.0.1:0 "$@"`, cmd.Path}, args...)
	cmd.Path = "/bin/sh"
	addr, logged = startProgram(t, cmd)
	return addr, logged
}

// openUntilFull connects clients until one is not served. All stay connected.
func openUntilFull(t testing.TB, addr string) {
	t.Helper()
	for range 100 {
		c := converse(t, addr, get("/here"))
		c.SetReadDeadline(time.Now().Add(300 * time.Millisecond)) // on a slow machine, too short a wait only makes fewer clients
		if _, err := io.ReadFull(c, make([]byte, 12)); errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
	t.Fatal("100 clients are served concurrently by a program with 64 descriptors")
}

const ruleDescriptors = "house rule: connections do not take the descriptors that their requests need"

func TestIdleClientsLeaveDescriptorsForFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "page"), []byte("page\n"), 0o600))
	addr, logged := startWithFewDescriptors(t, "-root", dir)
	c := converse(t, addr, "GET /files/page HTTP/1.1\r\nHost: x\r\n") // an unfinished head: not idle

	openUntilFull(t, addr)

	io.WriteString(c, closeField+"\r\n")
	transcript{rule: ruleDescriptors, look: "descriptors.go"}.readAll(c).wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	awaitLog(t, logged, "connections are capped")
}
