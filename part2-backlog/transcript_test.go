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

// A transcript is one exchange with a server. When a test fails, it prints what
// was sent, what was received with a caret at the first wrong byte, the rule
// that was broken, and where to look.
type transcript struct {
	sent, got string
	end       error  // how the connection ended; nil for FIN
	rule      string // begins with MUST and the RFC, or with "house rule"
	look      string // file and function

	label  string // "answer 2 of 3", when got is one of several responses
	before string // the responses received before it
}

// sendAndRead connects to addr, sends each piece in its own write, and reads
// until the server closes.
func sendAndRead(t testing.TB, addr, rule, look string, pieces ...string) transcript {
	t.Helper()
	c := dial(t, addr)
	c.SetDeadline(time.Now().Add(patience()))
	s := transcript{sent: strings.Join(pieces, ""), rule: rule, look: look}
	for _, piece := range pieces {
		if _, err := io.WriteString(c, piece); err != nil {
			break // the server may have responded and closed already: read the response
		}
	}
	return s.readAll(c)
}

// readAll reads until the server closes, then closes c.
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

// dial connects to addr, or fails the test. The connection is closed when the
// test ends; until the test sets another deadline, reads and writes fail after
// three times patience.
func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(3 * patience()))
	return c.(*net.TCPConn)
}

// fail ends the test and prints the transcript; at is the offset in got of the
// first wrong byte.
func (s transcript) fail(t testing.TB, at int, wrong string, args ...any) {
	t.Helper()
	if errors.Is(s.end, os.ErrDeadlineExceeded) {
		failedWaits.Add(1)
	}
	const shown = 60 // bytes printed before the wrong one
	got := s.before + s.got
	at = min(at+len(s.before), len(got))
	from := max(0, at-shown)
	cut := ""
	if from > 0 {
		cut = "..."
	}
	before := cut + strconv.Quote(got[from:at])
	before = before[:len(before)-1]
	if s.label != "" {
		wrong = s.label + ": " + wrong
	}
	t.Fatalf("%s\n  sent: %s\n  got:  %s\n        %s^ here\n  rule: %s\n  look: %s",
		fmt.Sprintf(wrong, args...), clip(shorten(s.sent)), cut+clip(got[from:]), strings.Repeat(" ", len(before)), s.rule, s.look)
}

// withRule returns s with another rule, for a failure that breaks a rule other
// than the test's own.
func (s transcript) withRule(rule string) transcript {
	s.rule = rule
	return s
}

// describeEnd returns how the connection ended, as a sentence.
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

// errOpen is the end of a transcript whose test did not wait for the connection
// to close.
var errOpen = errors.New("the test read no further")

// clip quotes the first 160 bytes of text.
func clip(text string) string {
	if len(text) > 160 {
		return strconv.Quote(text[:160]) + fmt.Sprintf("... (%d bytes)", len(text))
	}
	return strconv.Quote(text)
}

// shorten abbreviates each long run of one byte, and says how many there were.
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

// wantPrefix fails the test unless the response begins with want.
func (s transcript) wantPrefix(t testing.TB, want string) {
	t.Helper()
	for i := range len(want) {
		if i >= len(s.got) || s.got[i] != want[i] {
			s.fail(t, i, "want %s (%s)", clip(want), s.describeEnd())
		}
	}
}

// wantCleanEnd fails the test unless the connection ended in FIN: not reset,
// not left open.
func (s transcript) wantCleanEnd(t testing.TB) {
	t.Helper()
	switch {
	case errors.Is(s.end, syscall.ECONNRESET):
		s.fail(t, len(s.got), "the client saw a reset where the answer ends: connection reset by peer")
	case errors.Is(s.end, os.ErrDeadlineExceeded):
		if strings.Contains(s.sent, "Connection: close\r\n") {
			s = s.withRule(ruleClose)
		}
		s.fail(t, len(s.got), "the server still holds the connection open at the test's deadline")
	case s.end != nil:
		s.fail(t, len(s.got), "%s", s.describeEnd())
	}
}

// A parsedResponse is one parsed response.
type parsedResponse struct {
	status string // as in "200 OK"
	fields map[string]string
	body   string
}

const (
	ruleLineEndings   = "MUST, RFC 9112 §2.1: the lines of a head end in CRLF"
	ruleClose         = "MUST, RFC 9112 §9.6: after the response to a request with Connection: close the server closes"
	ruleContentLength = "MUST, RFC 9110 §8.6 and RFC 9112 §6.2: Content-Length is how many bytes the body has"
)

// parse parses the response as strictly as RFC 9112 defines it. It fails the
// test at the first byte that does not conform.
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
			s.fail(t, len(s.got), "the response ends inside its head (%s)", s.describeEnd())
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

// fieldAt returns the offset in got of the first line of a field, or of the empty
// line if the response does not have the field.
func (s transcript) fieldAt(name string) (at int) {
	for line := range strings.SplitAfterSeq(s.got, "\r\n") {
		if found, _, _ := strings.Cut(line, ":"); line == "\r\n" || strings.EqualFold(found, name) {
			break
		}
		at += len(line)
	}
	return at
}

// wantFramed fails the test unless the body is as long as Content-Length says.
// A client that trusts a wrong field truncates the body, or waits for bytes
// that never arrive.
func (s transcript) wantFramed(t testing.TB) parsedResponse {
	t.Helper()
	r := s.parse(t)
	head := len(s.got) - len(r.body)
	length, err := strconv.Atoi(r.fields["content-length"])
	if err != nil {
		s.withRule(ruleContentLength).fail(t, s.fieldAt("Content-Length"), "Content-Length is %q, not a number of bytes", r.fields["content-length"])
	}
	if length != len(r.body) {
		s.withRule(ruleContentLength).fail(t, head+min(length, len(r.body)), "Content-Length says %d bytes, the body has %d", length, len(r.body))
	}
	return r
}

// skipIfJudging skips a test of this part's own program when $SERVER names
// another.
func skipIfJudging(t testing.TB) {
	t.Helper()
	if os.Getenv("SERVER") != "" {
		t.Skip("tests this part's own program, not the one in $SERVER")
	}
	skipIfHung(t)
}

// startJudgedServer starts the program in $SERVER, a shell command that listens
// on $ADDR, and returns its address; with $JUDGED it returns that address, where
// the judge has started the program. Without $SERVER it returns "": the test then
// judges this part's own server.
func startJudgedServer(t testing.TB) (addr string) {
	t.Helper()
	command := os.Getenv("SERVER")
	if command == "" {
		return ""
	}
	skipIfHung(t)
	if addr = os.Getenv("JUDGED"); addr != "" {
		return addr
	}
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
			time.Sleep(50 * time.Millisecond) // the server's own error message may still be in the pipe
		}
		end()
		receive(t, exited, "the server has ended")
		if text := output.String(); t.Failed() && text != "" {
			const shown = 4000 // bytes of output, from the end
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
