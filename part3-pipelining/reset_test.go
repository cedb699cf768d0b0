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

	"socketup/part3-pipelining/server"
)

// old is a request of HTTP/1.0, whose answer ends with the connection unless it
// has a length.
func old(path string) string { return "GET " + path + " HTTP/1.0\r\n\r\n" }

const resetRule = "house rule: an answer that ends with its connection, and is not whole, ends in a reset, or it looks whole (RFC 9112 §8)"

// isCut wants the connection to have ended in a reset, behind want.
func (s story) isCut(t testing.TB, want string) {
	t.Helper()
	if !errors.Is(s.end, syscall.ECONNRESET) {
		s.fail(t, len(s.got), "a broken answer ends as if it were whole, with FIN (%v), want a reset", s.end)
	}
	assert.Contains(t, s.got, want, "what was sent before the cut arrives")
}

func TestBrokenAnswerThatEndsWithTheConnectionEndsInAReset(t *testing.T) {
	t.Parallel()
	r := start(t, func(s *server.Server) { s.Limits.HandlerTime = 50 * time.Millisecond }, with(func(w *server.Response, r *server.Request) {
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
		s := tell(t, r.addr, resetRule, "cut.go", old(path))

		s.begins(t, "HTTP/1.1 200 OK\r\n")
		s.isCut(t, "half")
	}
	for name, sent := range map[string]string{"whole": old("/"), "in chunks": get("/panic")} {
		s := tell(t, r.addr, "house rule: a reset can destroy bytes on their way; who can see the cut without one is spared it", "cut.go", sent)

		s.begins(t, "HTTP/1.1 200 OK\r\n")
		s.endsCleanly(t)
		assert.Contains(t, s.got, "half", name)
	}
}

// The client that half-closes is not waited for when its answer is out. That
// close must not be a reset either.
func TestWholeAnswerToAClientThatHasHalfClosedEndsInFIN(t *testing.T) {
	t.Parallel()
	r := start(t)
	c := converse(t, r.addr, old("/stream/1000"))
	require.NoError(t, c.CloseWrite())

	s := story{sent: old("/stream/1000"), rule: resetRule, look: "conn.go, next"}.hear(c)

	s.endsCleanly(t)
	assert.Contains(t, s.got, "line 1000\n")
}

// A client that does not read is cut off; what it finds when it does read then
// must not look like all.
func TestAnswerThatItsClientDidNotTakeInTimeEndsInAReset(t *testing.T) {
	t.Parallel()
	r := start(t, func(s *server.Server) { s.Limits.WriteTime = 50 * time.Millisecond })
	c := converse(t, r.addr, old("/stream/1000000"))
	eventually(t, "the answer begins", func() bool { return r.Connections() == 1 })
	eventually(t, "the client is cut off", func() bool { return r.Connections() == 0 })

	s := story{sent: old("/stream/1000000"), rule: resetRule, look: "cut.go"}.hear(c)

	s.isCut(t, "")
}

func TestAnswerThatTheEndOfTheProcessCutsEndsInAReset(t *testing.T) {
	cmd, addr, logged := serving(t, "-grace", "1h")
	c := converse(t, addr, old("/stream/1000000"))
	expect(t, c, story{}, "HTTP/1.1 200 OK\r\n")

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	logs(t, logged, "stopping")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	cmd.Wait()

	c.SetDeadline(time.Now().Add(limit))
	story{sent: old("/stream/1000000"), rule: resetRule, look: "cut.go"}.hear(c).isCut(t, "")
}

// A file's length is promised before it is read, so a file that shrinks needs no
// reset: also to HTTP/1.0 the answer lacks bytes that it has announced.
func TestFileThatShrinksWhileItIsSentIsSeenToBeCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "large")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	require.NoError(t, os.Truncate(name, 64<<20)) // more than the kernel takes in for a client that does not read
	files, err := filesRoute(dir, false)
	require.NoError(t, err)
	r := start(t, with(routes(files)))
	c := converse(t, r.addr, old("/files/large"))
	c.SetReadBuffer(64 << 10)
	expect(t, c, story{}, "HTTP/1.1 200 OK\r\n")

	require.NoError(t, os.Truncate(name, 1))

	s := story{}.hear(c)
	assert.Contains(t, s.got, "Content-Length: 67108864\r\n")
	assert.Less(t, len(s.got), 64<<20, "the rest that is not there is not made up (response.go, finish)")
}
