package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A file that exists is not missing because the server has no descriptor for it:
// a cache, or a search engine, would remember the 404.
func TestServerOutOfDescriptorsDoesNotSayThatAFileIsMissing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("here"), 0o600))
	cmd, addr, _ := serving(t, "-root", dir)
	c := dial(t, addr) // accepted while there are descriptors
	asks := story{sent: get("/files/a.txt"), rule: "RFC 9110 §15.6.4: 503 is for what is so for the moment, 404 for what does not exist", look: "files.go, failToOpen"}
	asks.on(t, c).begins(t, "HTTP/1.1 200 ")

	atMost(t, cmd.Process.Pid, 0)
	without := asks.on(t, c)
	atMost(t, cmd.Process.Pid, 1000)
	with := asks.on(t, c)

	without.begins(t, "HTTP/1.1 503 ")
	assert.Contains(t, without.got, "\r\nRetry-After: 1\r\n")
	with.begins(t, "HTTP/1.1 200 ")
}
