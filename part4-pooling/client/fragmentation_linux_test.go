package client

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/socket"
)

// The network decides how the bytes of a response are split. It does not decide
// what they mean.

const ruleFragmentation = "house rule: the same bytes mean the same, wherever they are split (RFC 9112 §2.2: a message is a sequence of octets)"

// sendInPieces sends a response to GET in pieces, each when the one before has been
// read, and returns what the client made of it.
func sendInPieces(t *testing.T, pieces ...string) string {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	p, err := socket.NewFD(pair[0])
	require.NoError(t, err)
	l := NewConn(p, "pieces")
	verdict := make(chan string, 1)
	go func() { // ends with the connection at the latest
		defer l.Close() // so that the writer below is not stuck
		a := &Response{Conn: l, Ctx: t.Context(), IdleTimeout: testutil.MaxWait}
		err := a.ReadHead([]byte("GET"), testutil.MaxWait)
		said := ""
		if err == nil {
			var body []byte
			body, err = io.ReadAll(a)
			said = fmt.Sprintf("%d %q ", a.Status, body)
		}
		for _, kind := range []error{http1.ErrBadResponse, ErrEnded, ErrTruncated} {
			if errors.Is(err, kind) {
				err = kind
			}
		}
		verdict <- said + fmt.Sprint(err)
	}()
	for deadline := time.Now().Add(testutil.MaxWait); len(pieces) > 0; pieces = pieces[1:] {
		unix.Write(pair[1], []byte(pieces[0])) // fails once the client has closed
		for unread := 1; unread > 0 && len(verdict) == 0; runtime.Gosched() {
			unread, err = unix.IoctlGetInt(pair[1], unix.SIOCOUTQ)
			require.NoError(t, err)
			require.Less(t, time.Now(), deadline, "the client does not read the rest of the response")
		}
	}
	unix.Close(pair[1])
	return testutil.Receive(t, verdict, "the client reaches a verdict")
}

func TestResponseParsesTheSameHoweverItIsFragmented(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\n\r\nhello",
		"\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b;c\"\r\nhello\r\n0\r\nA: b\r\n\r\n",
		"\r\n\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"\rHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\nC: d\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("0", 250) + "5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("0", 255) + "5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 2x0 OK\r\nA: b\nC: d\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",
	} {
		whole := sendInPieces(t, text)
		for cut := 1; cut < len(text); cut++ {
			require.Equal(t, whole, sendInPieces(t, text[:cut], text[cut:]), "%s: %q, and then %q", ruleFragmentation, text[:cut], text[cut:])
		}
		if len(text) < 200 {
			require.Equal(t, whole, sendInPieces(t, strings.Split(text, "")...), "%s: %q, one byte at a time", ruleFragmentation, text)
		}
	}
}

func TestResponseLimitsDoNotDependOnFragmentation(t *testing.T) {
	t.Parallel()
	const good, bad = `200 "hello" <nil>`, "bad response"
	trailers := func(n int) string { // of n bytes
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: " + strings.Repeat("a", n-7) + "\r\n\r\n"
	}
	for name, c := range map[string]struct{ text, want string }{
		"the longest head":         {responseHead("200 OK", MaxHead) + "hello", good},
		"one byte more":            {responseHead("200 OK", MaxHead+1) + "hello", bad},
		"sixty more":               {responseHead("200 OK", 16_445) + "hello", bad},
		"almost the buffer":        {responseHead("200 OK", BufferSize-123), bad},
		"the buffer":               {responseHead("200 OK", BufferSize), bad},
		"more than the buffer":     {responseHead("200 OK", BufferSize+1), bad},
		"long behind a long one":   {responseHead("102 Processing", MaxHead) + responseHead("200 OK", MaxHead) + "hello", good},
		"too long behind a short":  {responseHead("102 Processing", 100) + responseHead("200 OK", MaxHead+1), bad},
		"an interim that is":       {responseHead("102 Processing", MaxHead+1) + responseHead("200 OK", 100) + "hello", bad},
		"the longest trailers":     {trailers(8 << 10), good},
		"one byte more of them":    {trailers(8<<10 + 1), `200 "hello" bad response`},
		"a bare LF beyond":         {responseHead("200 OK", MaxHead+1)[:MaxHead] + "\n\r\n\r\n", bad},
		"a hundred long interims":  {strings.Repeat(responseHead("103 Early Hints", 4000), 100) + responseHead("200 OK", MaxHead) + "hello", good},
		"a head behind empty ones": {"\r\n\r\n" + responseHead("200 OK", MaxHead) + "hello", good},
	} {
		t.Run(name, func(t *testing.T) {
			for _, cut := range []int{0, 1, 100, 8192, 16_383, 16_384, 16_385, 32_767, 32_768, 32_769, len(c.text) - 8, len(c.text) - 6, len(c.text) - 1} {
				if cut < len(c.text) {
					assert.Equal(t, c.want, sendInPieces(t, c.text[:cut], c.text[cut:]), "%s: cut at %d of %d", ruleFragmentation, cut, len(c.text))
				}
			}
		})
	}
}
