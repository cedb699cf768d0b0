package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/socket"
)

// The tests of this package look into the server. What a server does that
// anybody can see is tested by the program's tests, one directory up.

const (
	maxWait     = 10 * time.Second      // bounds every wait of a test
	testTimeout = 50 * time.Millisecond // a limit for tests
	closeField  = "Connection: close\r\n"
)

// A testServer is a server under test.
type testServer struct {
	*Server
	addr string
	done chan struct{} // closed when Serve has returned
}

// startServer runs a server on a free port until the test ends.
func startServer(t testing.TB, change ...func(*Server)) *testServer {
	t.Helper()
	fd, err := socket.Listen("127.0.0.1:0", 4096)
	require.NoError(t, err)
	addr := socket.LocalAddr(fd).String()
	s, err := New(fd, answer, DefaultLimits, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	for _, f := range change {
		f(s)
	}
	r := &testServer{s, addr, make(chan struct{})}
	go func() { s.Serve(); close(r.done) }() // the cleanup waits for it
	t.Cleanup(func() {
		s.Stop()
		receive(t, r.done, "the server stops")
	})
	return r
}

// withHandler is for start: a handler of the test's own.
func withHandler(h Handler) func(*Server) { return func(s *Server) { s.Handler = h } }

// answer is the handler of a test that has none: it sleeps, echoes, or greets.
func answer(w *Response, r *Request) {
	if asked, sleeps := bytes.CutPrefix(r.Path, []byte("/sleep/")); sleeps {
		d, _ := time.ParseDuration(string(asked))
		time.Sleep(d) // the handler's work
	}
	if r.Body != nil {
		echo(w, r, nil)
		return
	}
	w.SetPlainText()
	w.WriteString("Hello, World!\n")
}

func echo(w *Response, r *Request, _ []byte) {
	if body, err := r.Body.ReadAll(); err == nil {
		w.Write(body)
	}
}

// skipIfJudging marks a test that could be about another server in the program's tests.
func skipIfJudging(testing.TB) {}

// get renders a request for path; each of fields ends in CRLF.
func get(path string, fields ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: socket.up\r\n" + strings.Join(fields, "") + "\r\n"
}

// getMethods is n times GET.
func getMethods(n int) []string { return strings.Split(strings.Repeat("GET ", n-1)+"GET", " ") }

// dial connects, or ends the test; the connection is closed when the test ends.
func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, maxWait)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(3 * maxWait))
	return c.(*net.TCPConn)
}

// converse sends text and returns the connection, for what is to come.
func converse(t testing.TB, addr, text string) *net.TCPConn {
	t.Helper()
	c := dial(t, addr)
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
	return c
}

// requireRead reads as many bytes as want has, and wants them to be want.
func requireRead(t testing.TB, c io.Reader, s transcript, want string) {
	t.Helper()
	got := make([]byte, len(want))
	n, _ := io.ReadFull(c, got)
	require.Equal(t, want, string(got[:n]), "%s (%s)", s.rule, s.look)
}

// A transcript is what was sent, what came back, and the rule that it is about.
type transcript struct {
	sent, got  string
	end        error // how the connection ended; nil for FIN
	rule, look string
}

// readAll reads until the server closes, and closes too.
func (s transcript) readAll(c net.Conn) transcript {
	c.SetDeadline(time.Now().Add(maxWait))
	got, err := io.ReadAll(c)
	c.Close()
	s.got, s.end = string(got), err
	return s
}

func (s transcript) fail(t testing.TB, at int, wrong string, args ...any) {
	t.Helper()
	t.Fatalf("%s, at byte %d of %.300q\n  sent: %.160q\n  rule: %s\n  look: %s", fmt.Sprintf(wrong, args...), at, s.got, s.sent, s.rule, s.look)
}

// wantCleanEnd wants the connection to have ended with FIN.
func (s transcript) wantCleanEnd(t testing.TB) {
	t.Helper()
	if s.end != nil {
		s.fail(t, len(s.got), "the connection ended in: %v", s.end)
	}
}

// A parsedResponse is one response.
type parsedResponse struct {
	status string
	fields map[string]string // by name in lower case
	body   string
}

// parseAll takes apart what came as answers to requests with these methods, to
// the last byte.
func (s transcript) parseAll(t testing.TB, methods ...string) (all []parsedResponse) {
	t.Helper()
	in := bufio.NewReader(strings.NewReader(s.got))
	for i, method := range methods {
		r, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			s.fail(t, len(s.got), "answer %d of %d: %v", i+1, len(methods), err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			s.fail(t, len(s.got), "the body of answer %d of %d: %v", i+1, len(methods), err)
		}
		one := parsedResponse{r.Status, map[string]string{}, string(body)}
		for name, values := range r.Header {
			one.fields[strings.ToLower(name)] = values[0]
		}
		if r.Close {
			one.fields["connection"] = "close"
		}
		all = append(all, one)
	}
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		s.fail(t, len(s.got), "there is something behind the last answer")
	}
	return all
}

// receive receives from c, or ends the test.
func receive[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(maxWait):
		t.Fatalf("waited in vain for: %s", what)
	}
	return v
}

// eventually waits for a state.
func eventually(t testing.TB, state string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(maxWait); !reached(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", state)
		}
	}
}
