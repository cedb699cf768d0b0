package client

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/socket"
)

// readResponse reads sent as a whole, as the response to method.
func readResponse(t testing.TB, method string, sent []byte) (a *Response, body []byte, err error) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	p, err := socket.NewFD(pair[0])
	require.NoError(t, err)
	l := NewConn(p, "fuzz")
	defer l.Close()
	unix.Write(pair[1], sent[:min(len(sent), 60_000)])
	unix.Close(pair[1])
	a = &Response{Conn: l, Ctx: t.Context(), IdleTimeout: testutil.MaxWait}
	if err = a.ReadHead([]byte(method), testutil.MaxWait); err == nil {
		body, err = io.ReadAll(a)
	}
	return a, body, err
}

// Every response that we accept net/http accepts too, with the same meaning, once
// the empty lines are gone that we skip ahead of a head and net/http does not. The
// reverse need not hold: we are the stricter.
func FuzzResponseHead(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.0 404 \r\n\r\nuntil the end",
		"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"\r\n\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, sent []byte, head bool) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		a, body, err := readResponse(t, method, sent)
		if err != nil {
			return
		}
		theirs, theirBody := netHTTPResponse(t, method, sent)
		require.Equal(t, theirs.StatusCode, a.Status)
		require.Equal(t, string(theirBody), string(body))
		require.False(t, theirs.Close && a.Persists(), "net/http says that the connection ends here")
	})
}

func netHTTPResponse(t testing.TB, method string, sent []byte) (*http.Response, []byte) {
	t.Helper()
	in := bufio.NewReaderSize(bytes.NewReader(sent), 1<<16)
	for {
		for range 2 { // SkipEmptyLines; a third is not skipped
			if line, _ := in.Peek(2); string(line) == "\r\n" {
				in.Discard(2)
			}
		}
		r, err := http.ReadResponse(in, &http.Request{Method: method})
		require.NoError(t, err, "we accepted a response that net/http rejects: %s", strconv.Quote(string(sent)))
		if r.StatusCode < 200 {
			continue
		}
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		return r, body
	}
}
