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

// A transcript is one exchange with a server. When a test fails, the story tells
// what was sent, what came back with a caret at the first wrong byte, the rule
// that was broken, and where to look next.
type transcript struct {
	sent, got string
	end       error  // how the connection ended; nil for FIN
	rule      string // begins with MUST and the RFC, or with "house rule"
	look      string // file and function

	label  string // "answer 2 of 3", where got is one of several
	before string // the responses before it
}

// sendAndRead sends each piece to addr in a write of its own, and reads until the
// server closes.
func sendAndRead(t testing.TB, addr, rule, look string, pieces ...string) transcript {
	t.Helper()
	c := dial(t, addr)
	c.SetDeadline(time.Now().Add(patience()))
	s := transcript{sent: strings.Join(pieces, ""), rule: rule, look: look}
	for _, piece := range pieces {
		if _, err := io.WriteString(c, piece); err != nil {
			break // the server may have answered already: read that
		}
	}
	return s.readAll(c)
}

// readAll reads until the server closes, and closes too.
func (s transcript) readAll(c net.Conn) transcript {
	c.SetDeadline(time.Now().Add(patience()))
	got, err := io.ReadAll(c)
	c.Close()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		anyLate.Store(true)
	}
	s.got, s.end = string(got), err
	return s
}

// dial connects, or ends the test; the connection is closed when the test ends.
// Reads and writes for which the test sets no deadline fail after a while.
func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(3 * patience()))
	return c.(*net.TCPConn)
}

// fail ends the test with the story; at is the first wrong byte of what came.
func (s transcript) fail(t testing.TB, at int, wrong string, args ...any) {
	t.Helper()
	if errors.Is(s.end, os.ErrDeadlineExceeded) {
		failedWaits.Add(1)
	}
	const shown = 60 // bytes before the wrong one
	got := s.before + s.got
	at = min(at+len(s.before), len(got))
	from := max(0, at-shown)
	before := strconv.Quote(got[from:at])
	before = before[:len(before)-1]
	if s.label != "" {
		wrong = s.label + ": " + wrong
	}
	t.Fatalf("%s\n  sent: %s\n  got:  %s\n        %s^ here\n  rule: %s\n  look: %s",
		fmt.Sprintf(wrong, args...), clip(shorten(s.sent)), clip(got[from:]), strings.Repeat(" ", len(before)), s.rule, s.look)
}

// withRule is s with the rule that a finding breaks, where that is not the test's.
func (s transcript) withRule(rule string) transcript {
	s.rule = rule
	return s
}

// describeEnd says how the connection ended.
func (s transcript) describeEnd() string {
	switch {
	case s.end == nil:
		return "the connection ended with FIN"
	case s.end == errOpen:
		return "the connection is still open"
	case errors.Is(s.end, os.ErrDeadlineExceeded):
		return "the connection is still open, and nothing more came in time"
	case errors.Is(s.end, syscall.ECONNRESET):
		return "the connection ended with RST: connection reset by peer"
	}
	return fmt.Sprintf("the connection ended in: %v", s.end)
}

// errOpen is the end of a story that did not wait for the connection's.
var errOpen = errors.New("the test read no further")

// clip quotes the first 160 bytes of text.
func clip(text string) string {
	if len(text) > 160 {
		return strconv.Quote(text[:160]) + fmt.Sprintf("... (%d bytes)", len(text))
	}
	return strconv.Quote(text)
}

// shorten leaves out most of each long run of one byte, and says how many.
func shorten(text string) string {
	const long, kept = 40, 8
	var b strings.Builder
	for len(text) > 0 {
		run := len(text) - len(strings.TrimLeft(text, text[:1]))
		if run = max(run, 1); run < long {
			b.WriteString(text[:run])
		} else {
			fmt.Fprintf(&b, "%s...(%d times)", text[:kept], run)
		}
		text = text[run:]
	}
	return b.String()
}

// wantPrefix wants the response to begin with want.
func (s transcript) wantPrefix(t testing.TB, want string) {
	t.Helper()
	for i := range len(want) {
		if i >= len(s.got) || s.got[i] != want[i] {
			s.fail(t, i, "want %s (%s)", clip(want), s.describeEnd())
		}
	}
}

// wantCleanEnd wants the connection to have ended in FIN: not reset, not hung.
func (s transcript) wantCleanEnd(t testing.TB) {
	t.Helper()
	switch {
	case errors.Is(s.end, syscall.ECONNRESET):
		s.fail(t, len(s.got), "the client saw a reset where the answer ends: connection reset by peer")
	case errors.Is(s.end, os.ErrDeadlineExceeded):
		s.fail(t, len(s.got), "the server still holds the connection open when the test's time is over")
	case s.end != nil:
		s.fail(t, len(s.got), "%s", s.describeEnd())
	}
}

// A parsedResponse is a response taken apart.
type parsedResponse struct {
	status string // as in "200 OK"
	fields map[string]string
	body   string
}

const (
	ruleLineEndings   = "MUST, RFC 9112 §2.1: the lines of a head end in CRLF"
	ruleContentLength = "MUST, RFC 9110 §8.6 and RFC 9112 §6.2: Content-Length is how many bytes the body has"
)

// parse takes the response apart as strictly as RFC 9112 writes it. It fails the
// test at the first byte that is not so.
func (s transcript) parse(t testing.TB) parsedResponse {
	t.Helper()
	r, rest := parsedResponse{fields: map[string]string{}}, s.got
	for first := true; ; first = false {
		at := len(s.got) - len(rest)
		lf := strings.IndexByte(rest, '\n')
		if s.got == "" {
			s.fail(t, 0, "no answer came (%s)", s.describeEnd())
		}
		if lf < 0 {
			s.fail(t, len(s.got), "the answer ends inside its head (%s)", s.describeEnd())
		}
		if lf == 0 || rest[lf-1] != '\r' {
			s.withRule(ruleLineEndings).fail(t, at+lf, "a line ends in a bare LF, not in CRLF")
		}
		line := rest[:lf-1]
		rest = rest[lf+1:]
		if line == "" {
			break
		}
		if first {
			if !strings.HasPrefix(line, "HTTP/1.1 ") || len(line) < len("HTTP/1.1 200 ") {
				s.withRule("MUST, RFC 9112 §4: a status line is version, space, three digits, space, reason").fail(t, at, "the status line is not HTTP/1.1, a space, three digits, a space")
			}
			r.status = line[len("HTTP/1.1 "):]
			continue
		}
		name, value, found := strings.Cut(line, ":")
		if !found || name == "" || strings.ContainsAny(name, " \t") {
			s.withRule("MUST, RFC 9112 §5: a field line is a name, a colon without space before it, a value").fail(t, at, "a field line is not name, colon, value")
		}
		r.fields[strings.ToLower(name)] = strings.TrimSpace(value)
	}
	r.body = rest
	return r
}

// wantFramed wants the body to be as long as Content-Length says. A client that
// trusts the field cuts the body short, or waits for bytes that never come.
func (s transcript) wantFramed(t testing.TB) parsedResponse {
	t.Helper()
	r := s.parse(t)
	head := len(s.got) - len(r.body)
	length, err := strconv.Atoi(r.fields["content-length"])
	if err != nil {
		s.withRule(ruleContentLength).fail(t, head, "Content-Length is %q, not a number of bytes", r.fields["content-length"])
	}
	if length != len(r.body) {
		s.withRule(ruleContentLength).fail(t, head+min(length, len(r.body)), "Content-Length says %d bytes, the body has %d", length, len(r.body))
	}
	return r
}

// skipIfJudging skips a test that is about our own program when another is judged.
func skipIfJudging(t testing.TB) {
	t.Helper()
	if os.Getenv("SERVER") != "" {
		t.Skip("about our own program, not about the one in $SERVER")
	}
	skipIfHung(t)
}

// startJudgedServer starts the program in $SERVER, a shell command that listens on $ADDR,
// and returns its address. Without $SERVER it returns "": judge our own.
func startJudgedServer(t testing.TB) (addr string) {
	t.Helper()
	command := os.Getenv("SERVER")
	if command == "" {
		return ""
	}
	skipIfHung(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr = free.Addr().String()
	free.Close()
	cmd := exec.Command("sh", "-c", command)
	cmd.Env = append(os.Environ(), "ADDR="+addr)
	cmd.WaitDelay = time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	end := killWithTest(t, cmd)
	require.NoError(t, cmd.Start())
	exited := exitStatusChan(cmd)
	t.Cleanup(func() {
		if t.Failed() {
			time.Sleep(50 * time.Millisecond) // what it says about its own failure may be on its way
		}
		end()
		receive(t, exited, "the server is gone")
		if text := output.String(); t.Failed() && text != "" {
			const shown = 4000 // bytes, from the end
			t.Logf("the server %q printed:\n%s", command, text[max(0, len(text)-shown):])
		}
	})
	for until := time.Now().Add(patience()); ; {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
			return addr
		}
		select {
		case <-exited:
			failedWaits.Store(maxFailedWaits)
			t.Fatalf("the server in $SERVER ended (%v) before it listened on $ADDR (%s)", cmd.ProcessState, addr)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(until) {
			failedWaits.Store(maxFailedWaits)
			t.Fatalf("the server in $SERVER does not listen on $ADDR (%s): %v", addr, err)
		}
	}
}
