package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/server"
)

// http10Get returns an HTTP/1.0 request for path, whose response is delimited
// by the close unless it has a Content-Length.
func http10Get(path string) string { return "GET " + path + " HTTP/1.0\r\n\r\n" }

const ruleResetOnTruncation = "house rule: an incomplete close-delimited response ends in a reset, or it would look complete (RFC 9112 §8)"

// wantReset requires that want was received and that the connection then ended
// in a reset.
func (s transcript) wantReset(t testing.TB, want string) {
	t.Helper()
	if !errors.Is(s.end, syscall.ECONNRESET) {
		s.fail(t, len(s.got), "a broken answer ends as if it were whole, with FIN (%v), want a reset", s.end)
	}
	assert.Contains(t, s.got, want, "what was sent before the reset arrives")
}

func TestTruncatedCloseDelimitedResponseEndsInAReset(t *testing.T) {
	t.Parallel()
	r := startServer(t, func(s *server.Server) { s.Limits.HandlerTime = 50 * time.Millisecond }, withHandler(func(w *server.Response, r *server.Request) {
		w.WriteString("half")
		w.Flush()
		switch string(r.Path) {
		case "/panic":
			panic("in the middle")
		case "/exit":
			runtime.Goexit()
		case "/hang":
			<-w.Done()
		}
	}))
	for _, path := range []string{"/panic", "/exit", "/hang"} {
		s := sendAndRead(t, r.addr, ruleResetOnTruncation, "closedelimited.go", http10Get(path))

		s.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
		s.wantReset(t, "half")
	}
	for name, sent := range map[string]string{"whole": http10Get("/"), "in chunks": get("/panic")} {
		s := sendAndRead(t, r.addr, "house rule: a reset can destroy bytes in flight; a client that can detect the truncation without one gets FIN", "closedelimited.go", sent)

		s.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
		s.wantCleanEnd(t)
		assert.Contains(t, s.got, "half", name)
	}
}

// The server does not wait for a half-closed client once its response is
// written. That close must not be a reset either.
func TestCompleteCloseDelimitedResponseEndsInFIN(t *testing.T) {
	t.Parallel()
	r := startServer(t)
	c := converse(t, r.addr, http10Get("/stream/1000"))
	require.NoError(t, c.CloseWrite())

	s := transcript{sent: http10Get("/stream/1000"), rule: ruleResetOnTruncation, look: "conn.go, nextAction"}.readAll(c)

	s.wantCleanEnd(t)
	assert.Contains(t, s.got, "line 1000\n")
}

// A client that does not read is disconnected. What it receives when it reads
// at last must not look complete.
func TestResponseCutByTheWriteTimeoutEndsInAReset(t *testing.T) {
	t.Parallel()
	r := startServer(t, func(s *server.Server) { s.Limits.WriteTime = 50 * time.Millisecond })
	c := converse(t, r.addr, http10Get("/stream/1000000"))
	eventually(t, "the response begins", func() bool { return r.Connections() == 1 })
	eventually(t, "the client is disconnected", func() bool { return r.Connections() == 0 })

	s := transcript{sent: http10Get("/stream/1000000"), rule: ruleResetOnTruncation, look: "closedelimited.go"}.readAll(c)

	s.wantReset(t, "")
}

func TestResponseCutByProcessExitEndsInAReset(t *testing.T) {
	cmd, addr, logged := startServing(t, "-grace", "1h")
	c := converse(t, addr, http10Get("/stream/1000000"))
	requireRead(t, c, transcript{}, "HTTP/1.1 200 OK\r\n")

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	awaitLog(t, logged, "stopping")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	cmd.Wait()

	c.SetDeadline(time.Now().Add(maxWait))
	transcript{sent: http10Get("/stream/1000000"), rule: ruleResetOnTruncation, look: "closedelimited.go"}.readAll(c).wantReset(t, "")
}

// Content-Length is sent before the file is read, so a file that shrinks needs
// no reset: even an HTTP/1.0 client sees that announced bytes are missing.
func TestFileThatShrinksWhileItIsSentIsSeenAsTruncated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "large")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	require.NoError(t, os.Truncate(name, 64<<20)) // more than the kernel buffers for a client that does not read
	files, err := filesRoute(dir, false)
	require.NoError(t, err)
	r := startServer(t, withHandler(routes(files)))
	c := converse(t, r.addr, http10Get("/files/large"))
	c.SetReadBuffer(64 << 10)
	requireRead(t, c, transcript{}, "HTTP/1.1 200 OK\r\n")

	require.NoError(t, os.Truncate(name, 1))

	s := transcript{}.readAll(c)
	assert.Contains(t, s.got, "Content-Length: 67108864\r\n")
	assert.Less(t, len(s.got), 64<<20, "the missing bytes are not made up (response.go, finish)")
}
