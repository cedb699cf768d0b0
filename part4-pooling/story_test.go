package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// limit bounds every wait of a test that could otherwise hang.
const limit = 10 * time.Second

// A story is one exchange with a server. When a test fails, the story tells
// what was sent, what came back with a caret at the first wrong byte, the rule
// that was broken, and where to look next.
type story struct {
	sent, got string
	end       error  // how the connection ended; nil for a clean close
	rule      string // begins with MUST and the RFC, or with "house rule"
	look      string // file and function
}

// tell sends each piece to addr in a write of its own, and reads until the
// server closes.
func tell(t testing.TB, addr, rule, look string, pieces ...string) story {
	t.Helper()
	c := dial(t, addr)
	s := story{sent: strings.Join(pieces, ""), rule: rule, look: look}
	for _, piece := range pieces {
		if _, err := io.WriteString(c, piece); err != nil {
			break // the server may have answered already: read that
		}
	}
	return s.hear(c)
}

// hear reads until the server closes, and closes too.
func (s story) hear(c net.Conn) story {
	c.SetReadDeadline(time.Now().Add(limit))
	got, err := io.ReadAll(c)
	c.Close()
	s.got, s.end = string(got), err
	return s
}

// dial connects, or ends the test; the connection is closed when the test ends.
func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, limit)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// fail ends the test with the story; at is the first wrong byte of what came.
func (s story) fail(t testing.TB, at int, wrong string, args ...any) {
	t.Helper()
	const shown = 60 // bytes before the wrong one
	from := max(0, min(at, len(s.got))-shown)
	before := strconv.Quote(s.got[from:min(at, len(s.got))])
	before = before[:len(before)-1]
	t.Fatalf("%s\n  sent: %s\n  got:  %s\n        %s^ here\n  rule: %s\n  look: %s",
		fmt.Sprintf(wrong, args...), clip(s.sent), clip(s.got[from:]), strings.Repeat(" ", len(before)), s.rule, s.look)
}

// clip quotes the first 160 bytes of text.
func clip(text string) string {
	if len(text) > 160 {
		return strconv.Quote(text[:160]) + fmt.Sprintf("... (%d bytes)", len(text))
	}
	return strconv.Quote(text)
}

// begins wants the answer to begin with want.
func (s story) begins(t testing.TB, want string) {
	t.Helper()
	for i := range len(want) {
		if i >= len(s.got) || s.got[i] != want[i] {
			s.fail(t, i, "want %s (the connection ended: %v)", clip(want[i:]), s.end)
		}
	}
}

// endsCleanly wants the connection to have ended in FIN: not reset, not hung.
func (s story) endsCleanly(t testing.TB) {
	t.Helper()
	switch {
	case errors.Is(s.end, syscall.ECONNRESET):
		s.fail(t, len(s.got), "the client saw a reset where the answer ends: connection reset by peer")
	case errors.Is(s.end, os.ErrDeadlineExceeded):
		s.fail(t, len(s.got), "the server still holds the connection open after %v", limit)
	case s.end != nil:
		s.fail(t, len(s.got), "the connection ended in: %v", s.end)
	}
}

// A reply is an answer taken apart.
type reply struct {
	status string // as in "200 OK"
	fields map[string]string
	body   string
}

// reply takes the answer apart as strictly as RFC 9112 writes it. It fails the
// test at the first byte that is not so.
func (s story) reply(t testing.TB) reply {
	t.Helper()
	r, rest := reply{fields: map[string]string{}}, s.got
	for first := true; ; first = false {
		at := len(s.got) - len(rest)
		lf := strings.IndexByte(rest, '\n')
		if lf < 0 {
			s.fail(t, len(s.got), "the answer ends inside its head (the connection ended: %v)", s.end)
		}
		if lf == 0 || rest[lf-1] != '\r' {
			s.fail(t, at+lf, "a line ends in a bare LF, not in CRLF")
		}
		line := rest[:lf-1]
		rest = rest[lf+1:]
		if line == "" {
			break
		}
		if first {
			if !strings.HasPrefix(line, "HTTP/1.1 ") || len(line) < len("HTTP/1.1 200 ") {
				s.fail(t, at, "the status line is not HTTP/1.1, a space, three digits, a space")
			}
			r.status = line[len("HTTP/1.1 "):]
			continue
		}
		name, value, found := strings.Cut(line, ":")
		if !found || name == "" || strings.ContainsAny(name, " \t") {
			s.fail(t, at, "a field line is not name, colon, value")
		}
		r.fields[strings.ToLower(name)] = strings.TrimSpace(value)
	}
	r.body = rest
	return r
}

// framed wants the body to be as long as Content-Length says. A client that
// trusts the field cuts the body short, or waits for bytes that never come.
func (s story) framed(t testing.TB) reply {
	t.Helper()
	r := s.reply(t)
	head := len(s.got) - len(r.body)
	length, err := strconv.Atoi(r.fields["content-length"])
	if err != nil {
		s.fail(t, head, "Content-Length is %q, not a number of bytes", r.fields["content-length"])
	}
	if length != len(r.body) {
		s.fail(t, head+min(length, len(r.body)), "Content-Length says %d bytes, the body has %d", length, len(r.body))
	}
	return r
}

// ours skips a test that is about our own program when another is judged.
func ours(t testing.TB) {
	t.Helper()
	if os.Getenv("SERVER") != "" {
		t.Skip("about our own program, not about the one in $SERVER")
	}
}

// judged starts the program in $SERVER, a shell command that listens on $ADDR,
// and returns its address. Without $SERVER it returns "": judge our own.
func judged(t testing.TB) (addr string) {
	t.Helper()
	command := os.Getenv("SERVER")
	if command == "" {
		return ""
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr = free.Addr().String()
	free.Close()
	cmd := exec.Command("sh", "-c", command)
	cmd.Env = append(os.Environ(), "ADDR="+addr)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		if t.Failed() && output.Len() > 0 {
			t.Logf("the server %q printed:\n%s", command, &output)
		}
	})
	eventually(t, "the server in $SERVER listens on $ADDR ("+addr+")", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return addr
}

// eventually waits for a state and fails the test when it has not come within
// the limit.
func eventually(t testing.TB, state string, reached func() bool) {
	t.Helper()
	require.Eventually(t, reached, limit, time.Millisecond, "waited in vain until "+state)
}
