package server

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func patience() time.Duration { return maxWait }

// post returns a POST request with body; each of fields ends in CRLF.
func post(path, body string, fields ...string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: socket.up\r\nContent-Length: %d\r\n%s\r\n%s", path, len(body), strings.Join(fields, ""), body)
}

// readResponse reads one response to a GET, and no byte further.
func readResponse(in *bufio.Reader) (status string, body []byte, err error) {
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		return "", nil, err
	}
	body, err = io.ReadAll(r.Body)
	return r.Status, body, err
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// sendAndRead sends pieces to addr, and reads until the server closes.
func sendAndRead(t testing.TB, addr, rule, look string, pieces ...string) transcript {
	t.Helper()
	sent := strings.Join(pieces, "")
	return transcript{sent: sent, rule: rule, look: look}.readAll(converse(t, addr, sent))
}

// wantPrefix fails the test unless the bytes received begin with want.
func (s transcript) wantPrefix(t testing.TB, want string) {
	t.Helper()
	if !strings.HasPrefix(s.got, want) {
		s.fail(t, 0, "want %q", want)
	}
}
