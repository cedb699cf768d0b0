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

// The tests of this package look inside the server. The tests one directory up judge what
// a client can observe.

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

// withHandler is an option of startServer: it sets the handler.
func withHandler(h Handler) func(*Server) { return func(s *Server) { s.Handler = h } }

// answer is the default handler of startServer: it sleeps, echoes, or greets.
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

// skipIfJudging does nothing here. In the tests one directory up it skips tests that do not
// apply to another server.
func skipIfJudging(testing.TB) {}

// get returns a GET request for path; each of fields ends in CRLF.
func get(path string, fields ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: socket.up\r\n" + strings.Join(fields, "") + "\r\n"
}

// getMethods returns "GET" n times.
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

// converse connects, sends text, and returns the connection.
func converse(t testing.TB, addr, text string) *net.TCPConn {
	t.Helper()
	c := dial(t, addr)
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
	return c
}

// requireRead reads len(want) bytes, and ends the test unless they are want.
func requireRead(t testing.TB, c io.Reader, s transcript, want string) {
	t.Helper()
	got := make([]byte, len(want))
	n, _ := io.ReadFull(c, got)
	require.Equal(t, want, string(got[:n]), "%s (%s)", s.rule, s.look)
}

// A transcript is what a test sent, what came back, and the rule under test.
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

// wantCleanEnd fails the test unless the connection ended with FIN.
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

// parseAll parses everything received as the responses to requests with these methods. It
// fails the test if a byte is left over.
func (s transcript) parseAll(t testing.TB, methods ...string) (all []parsedResponse) {
	t.Helper()
	in := bufio.NewReader(strings.NewReader(s.got))
	for i, method := range methods {
		r, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			s.fail(t, len(s.got), "response %d of %d: %v", i+1, len(methods), err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			s.fail(t, len(s.got), "the body of response %d of %d: %v", i+1, len(methods), err)
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
		s.fail(t, len(s.got), "there is something after the last response")
	}
	return all
}

// receive receives from c, or ends the test after maxWait.
func receive[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(maxWait):
		t.Fatalf("timed out waiting for: %s", what)
	}
	return v
}

// eventually waits until reached returns true, or ends the test after maxWait.
func eventually(t testing.TB, state string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(maxWait); !reached(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting until %s", state)
		}
	}
}
