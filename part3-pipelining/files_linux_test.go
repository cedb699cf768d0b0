package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A file that exists is not 404 when the server has no descriptor to open it: a
// cache or a search engine would remember the 404.
func TestOutOfDescriptorsIsNot404(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("here"), 0o600))
	cmd, addr, _ := startServing(t, "-root", dir)
	c := dial(t, addr) // accepted while there are descriptors
	asks := transcript{sent: get("/files/a.txt"), rule: "RFC 9110 §15.6.4: 503 is for a temporary condition, 404 for what does not exist", look: "files.go, respondOpenError"}
	asks.readFrom(t, c).wantPrefix(t, "HTTP/1.1 200 ")

	setMaxDescriptors(t, cmd.Process.Pid, 0)
	without := asks.readFrom(t, c)
	setMaxDescriptors(t, cmd.Process.Pid, 1000)
	with := asks.readFrom(t, c)

	without.wantPrefix(t, "HTTP/1.1 503 ")
	assert.Contains(t, without.got, "\r\nRetry-After: 1\r\n")
	with.wantPrefix(t, "HTTP/1.1 200 ")
}
