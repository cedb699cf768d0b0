package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part3-pipelining/server"
	"socketup/part3-pipelining/socket"
)

// A testServer is this part's server, running in the test process.
type testServer struct {
	*server.Server
	fd   int // the listening socket
	addr string
	logs *logLines
	done chan struct{} // closed when serve has returned
}

// startServer runs this part's server on a free port until the test ends.
func startServer(t testing.TB, change ...func(*server.Server)) *testServer {
	t.Helper()
	return startServerAt(t, "127.0.0.1:0", server.DefaultLimits, change...)
}

func startServerAt(t testing.TB, at string, limited server.Limits, change ...func(*server.Server)) *testServer {
	t.Helper()
	skipIfJudging(t)
	fd, err := socket.Listen(at, backlog)
	require.NoError(t, err)
	logs := &logLines{}
	addr := socket.LocalAddr(fd).String()
	s, err := server.New(fd, routes(), limited, slog.New(slog.NewTextHandler(logs, nil)))
	require.NoError(t, err)
	for _, f := range change {
		f(s)
	}
	r := &testServer{s, fd, addr, logs, make(chan struct{})}
	go func() { s.Serve(); close(r.done) }() // the cleanup waits for it
	t.Cleanup(func() {
		s.Stop()
		select {
		case <-r.done:
		case <-time.After(patience()):
			failedWaits.Add(1)
			t.Error("the server does not stop")
		}
	})
	return r
}

// withHandler is an option of startServer: h instead of the routes.
func withHandler(h server.Handler) func(*server.Server) {
	return func(s *server.Server) { s.Handler = h }
}

// logLines collects what a server logs. It is safe for concurrent use.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// get returns a GET request for path; each of fields ends in CRLF.
func get(path string, fields ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: socket.up\r\n" + strings.Join(fields, "") + "\r\n"
}

const closeField = "Connection: close\r\n"

func post(path, body string, fields ...string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: socket.up\r\nContent-Length: %d\r\n%s\r\n%s", path, len(body), strings.Join(fields, ""), body)
}

// parseAll parses everything received as the responses to requests with these
// methods, to the last byte.
func (s transcript) parseAll(t testing.TB, methods ...string) (all []parsedResponse) {
	t.Helper()
	rest := s.got
	for i, method := range methods {
		one := s.rest(rest, i, len(methods))
		r := one.parse(t)
		r.body, rest = one.splitBody(t, r, method)
		all = append(all, r)
	}
	if rest != "" {
		s.fail(t, len(s.got)-len(rest), "there is something after the last response")
	}
	return all
}

// rest returns the transcript of response i of of, which begins the bytes rest.
func (s transcript) rest(rest string, i, of int) transcript {
	if of > 1 {
		s.label = fmt.Sprintf("answer %d of %d", i+1, of)
	}
	s.before, s.got = s.got[:len(s.got)-len(rest)], rest
	return s
}

// wantSame requires got to equal want. The failure points at got in the
// transcript where it can be found.
func (s transcript) wantSame(t testing.TB, what, want, got string) {
	t.Helper()
	if got != want {
		s.fail(t, max(0, strings.Index(s.got, got)), "%s is %s, want %s", what, clip(got), clip(want))
	}
}

// getMethods returns n times "GET".
func getMethods(n int) []string { return strings.Split(strings.Repeat("GET ", n-1)+"GET", " ") }

// splitBody separates the body of one response from what follows.
func (s transcript) splitBody(t testing.TB, r parsedResponse, method string) (body, rest string) {
	t.Helper()
	at := len(s.got) - len(r.body)
	code := r.status[:3]
	switch {
	case method == "HEAD" || code == "204" || code == "304" || code[0] == '1':
		if r.body != "" && !strings.HasPrefix(r.body, "HTTP/") {
			s.fail(t, at, "the response has no body, and its head is not followed by another response")
		}
		return "", r.body
	case r.fields["transfer-encoding"] != "":
		return s.splitChunks(t, r)
	case r.fields["content-length"] == "":
		return r.body, "" // up to the close of the connection
	}
	n, err := strconv.Atoi(r.fields["content-length"])
	if err != nil {
		s.withRule(ruleContentLength).fail(t, at, "Content-Length is %q, not a number of bytes", r.fields["content-length"])
	}
	if n > len(r.body) {
		s.withRule(ruleContentLength).fail(t, len(s.got), "Content-Length says %d bytes, and only %d arrived (%s)", n, len(r.body), s.describeEnd())
	}
	return r.body[:n], r.body[n:]
}

// splitChunks decodes the chunked coding strictly as RFC 9112 §7.1 defines it.
func (s transcript) splitChunks(t testing.TB, r parsedResponse) (body, rest string) {
	t.Helper()
	own := s.rule
	s.rule = "MUST, RFC 9112 §7.1: a chunk is its size in hexadecimal, CRLF, that many bytes, CRLF; the last is 0, CRLF, CRLF"
	for rest = r.body; ; {
		at := len(s.got) - len(rest)
		line, after, found := strings.Cut(rest, "\r\n")
		digits, _, _ := strings.Cut(line, ";") // extensions are ignored
		size, err := strconv.ParseUint(strings.TrimRight(digits, " \t"), 16, 31)
		switch {
		case rest == "":
			s.withRule(own).fail(t, at, "the response ends between two chunks (%s)", s.describeEnd())
		case !found || err != nil:
			s.fail(t, at, "a chunk does not begin with its size in hexadecimal and CRLF")
		case size == 0 && strings.HasPrefix(after, "\r\n"):
			return body, after[2:]
		case size == 0:
			_, rest, found := strings.Cut(after, "\r\n\r\n") // trailers are ignored
			if !found || strings.HasPrefix(after, "HTTP/") {
				s.fail(t, len(s.got)-len(after), "the last chunk is not followed by an empty line")
			}
			return body, rest
		case len(after) < int(size)+2 || after[size:size+2] != "\r\n":
			s.fail(t, len(s.got)-len(after)+min(int(size), len(after)), "a chunk of %d bytes does not end in CRLF there", size)
		}
		body += after[:size]
		rest = after[size+2:]
	}
}

// parseBodies returns the bodies of n responses to GET.
func (s transcript) parseBodies(t testing.TB, n int) (all []string) {
	t.Helper()
	for _, r := range s.parseAll(t, getMethods(n)...) {
		all = append(all, r.body)
	}
	return all
}

// converse connects, sends text and returns the connection, which is closed
// when the test ends.
func converse(t testing.TB, addr, text string) *net.TCPConn {
	t.Helper()
	c := dial(t, addr)
	c.SetDeadline(time.Now().Add(patience()))
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
	return c
}

// requireRead reads len(want) bytes and requires them to equal want.
func requireRead(t testing.TB, c io.Reader, s transcript, want string) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(c, got)
	switch s.got, s.end = string(got[:n]), err; err {
	case nil:
		s.end = errOpen
	case io.EOF, io.ErrUnexpectedEOF:
		s.end = nil
	}
	s.wantPrefix(t, want)
}

// readUntil reads from c until the text ends in end, and not a byte more.
func readUntil(t testing.TB, c io.Reader, end string) string {
	t.Helper()
	var got []byte
	for one := make([]byte, 1); !strings.HasSuffix(string(got), end); got = append(got, one...) {
		_, err := io.ReadFull(c, one)
		require.NoError(t, err, "want %q, got %q", end, got)
	}
	return string(got)
}

// neverReceives fails the test if c delivers within a short time. A slow
// machine can make it miss a fault, but not report one that is not there.
func neverReceives[T any](t testing.TB, c <-chan T, what string) {
	t.Helper()
	select {
	case v := <-c:
		t.Fatalf("%s: %v", what, v)
	case <-time.After(100 * time.Millisecond):
	}
}
