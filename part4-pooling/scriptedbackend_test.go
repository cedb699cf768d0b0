package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"socketup/part4-pooling/internal/testutil"
)

// A backendRequest is a request as a backend received it.
type backendRequest struct {
	*http.Request
	conn int    // the number of the connection
	raw  string // as it arrived, the body with its framing
	body string
	end  error // of the body, if it ended too early
}

// answering is the script of a backend that responds to each request with the bytes
// that answer returns. For "" it closes the connection, and after an answer that
// says so. Requests are delivered on seen, if it is not nil, before their answer.
func answering(seen chan<- backendRequest, answer func(q backendRequest) string) script {
	return func(c *net.TCPConn, number int) {
		var raw bytes.Buffer
		in := bufio.NewReader(io.TeeReader(c, &raw))
		for {
			raw.Reset()
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			q := backendRequest{Request: r, conn: number}
			body, err := io.ReadAll(r.Body)
			q.raw, q.body, q.end = raw.String(), string(body), err
			if seen != nil {
				seen <- q
			}
			a := answer(q)
			if _, err := io.WriteString(c, a); err != nil || a == "" || strings.Contains(a, "\r\nConnection: close\r\n") {
				return
			}
		}
	}
}

// recording is the script of a backend that delivers each request on the channel
// and gives each this answer.
func recording(answer string) (script, chan backendRequest) {
	seen := make(chan backendRequest, 100)
	return answering(seen, func(backendRequest) string { return answer }), seen
}

// inPieces is the script of a backend that reads a request and then sends each piece
// that it gets, until the test ends.
func inPieces(t testing.TB, pieces <-chan string) script {
	return func(c *net.TCPConn, _ int) {
		c.Read(make([]byte, 4<<10))
		for {
			select {
			case piece := <-pieces:
				io.WriteString(c, piece)
			case <-t.Context().Done():
				return
			}
		}
	}
}

// ignoringBodies is the script of a backend that reads no request body.
func ignoringBodies(c *net.TCPConn, _ int) {
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		for field := line; err == nil && field != "\r\n"; {
			field, err = in.ReadString('\n')
		}
		if err != nil {
			return
		}
		method, rest, _ := strings.Cut(line, " ")
		path, _, _ := strings.Cut(rest, " ")
		if method == "HEAD" {
			path = ""
		}
		io.WriteString(c, testutil.Response200(path))
	}
}

// received returns the next request at the backend, as a transcript of what the
// gateway sent: its failures show that.
func received(t testing.TB, seen <-chan backendRequest, client transcript) (backendRequest, transcript) {
	t.Helper()
	q := receive(t, seen, "a request at the backend; the client got "+clip(client.got))
	return q, transcript{sent: client.sent, got: q.raw, end: errOpen, rule: client.rule, look: client.look}
}

// lastOK is a 200 response with body that ends its connection.
func lastOK(body string) string {
	return strings.Replace(testutil.Response200(body), "\r\n", "\r\nConnection: close\r\n", 1)
}

// wantField fails the test unless the message has exactly one field of this name,
// with this value.
func (s transcript) wantField(t testing.TB, name, value string) {
	t.Helper()
	if lines := s.fieldLines(name); len(lines) != 1 || lines[0] != value {
		s.fail(t, s.fieldAt(name), "%s is %q, want one line %q", name, lines, value)
	}
}

// wantNoField fails the test if the message has a field of this name.
func (s transcript) wantNoField(t testing.TB, name string) {
	t.Helper()
	if lines := s.fieldLines(name); len(lines) > 0 {
		s.fail(t, s.fieldAt(name), "%s was passed on: %q", name, lines)
	}
}

// fieldLines returns the values of the lines with a field of this name in the first
// head of the transcript.
func (s transcript) fieldLines(name string) (values []string) {
	head, _, _ := strings.Cut(s.got, "\r\n\r\n")
	for _, line := range strings.Split(head, "\r\n")[1:] {
		if n, value, found := strings.Cut(line, ":"); found && strings.EqualFold(n, name) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

// wantAnswer fails the test unless got is one whole final response with this status
// and body, after any interim ones.
func (s transcript) wantAnswer(t testing.TB, status, body string) parsedResponse {
	t.Helper()
	s.wantPrefix(t, "HTTP/1.1 "+status+" ")
	r := s.wantWhole(t)
	s.wantSame(t, "the body", body, r.body)
	return r
}

// wantWhole fails the test unless got is one whole response to a GET, in any framing.
func (s transcript) wantWhole(t testing.TB) parsedResponse {
	t.Helper()
	r, rest := s.parse(t), ""
	if r.body, rest = s.splitBody(t, r, "GET"); rest != "" {
		s.fail(t, len(s.got)-len(rest), "there is something after the response")
	}
	return r
}

// ofHTTP10 returns s for a client that spoke HTTP/1.0: a server may answer it in
// that version.
func (s transcript) ofHTTP10() transcript {
	if rest, found := strings.CutPrefix(s.got, "HTTP/1.0 "); found {
		s.got = "HTTP/1.1 " + rest
	}
	return s
}
