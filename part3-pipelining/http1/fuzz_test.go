package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// differences are the only allowed reasons for our parser and net/http's to
// differ. In all of them but the last, ours is the stricter.
var differences = []struct {
	why   string
	holds func(head string, r *RequestHead) bool
}{
	{"net/http accepts bare LF as a line end", func(head string, _ *RequestHead) bool {
		return strings.Count(head, "\n") != strings.Count(head, "\r\n")
	}},
	{"net/http joins folded lines", func(head string, _ *RequestHead) bool {
		return strings.Contains(head, "\n ") || strings.Contains(head, "\n\t")
	}},
	{"net/http accepts an empty line within the first line's space, and does not skip one before it", func(head string, _ *RequestHead) bool {
		return strings.HasPrefix(head, "\r\n")
	}},
	{"net/http's ReadRequest leaves Host, and what is in it, to its server", func(_ string, r *RequestHead) bool {
		return r.err == errHost || r.hostFields != 1
	}},
	{"net/http accepts Content-Length fields that say the same, and lists them", func(_ string, r *RequestHead) bool {
		return r.lengthFields > 1 || r.err == errContentLength
	}},
	{"net/http drops Content-Length when there is a Transfer-Encoding", func(_ string, r *RequestHead) bool {
		return r.lengthFields > 0 && r.codingFields > 0
	}},
	{"net/http ignores Transfer-Encoding in HTTP/1.0, and refuses all but chunked with 501", func(_ string, r *RequestHead) bool {
		return r.codingFields > 0 && (r.Minor == 0 || !r.chunked || r.codingFields > 1)
	}},
	{"net/http serves HTTP/2.0's preface, and any HTTP/1.x", func(head string, _ *RequestHead) bool {
		return !strings.Contains(firstLineOf(head), " HTTP/1.1") && !strings.Contains(firstLineOf(head), " HTTP/1.0")
	}},
	{"net/http's ReadRequest leaves targets that are no path (CONNECT, *, other schemes, fragments) to its server, and parses more of a URL", func(head string, r *RequestHead) bool {
		target := string(r.Target)
		return target == "" || target[0] != '/' || strings.ContainsAny(target, "#%\"<>\\^`{|}[]") || strings.HasPrefix(target, "//") ||
			string(r.Method) == "CONNECT" || strings.ContainsAny(firstLineOf(head), "\x00\t\x7f") || hasByteAbove(firstLineOf(head), 0x7e)
	}},
	{"net/http cuts the first line at its first and last space, and trims it", func(head string, _ *RequestHead) bool {
		return strings.Count(firstLineOf(head), " ") != 2 || strings.TrimSpace(firstLineOf(head)) != firstLineOf(head)
	}},
	{"net/http leaves Expect to its server", func(_ string, r *RequestHead) bool { return r.err == errExpect }},
	{"net/http accepts control bytes in values, and names that are no token, in ReadRequest", func(_ string, r *RequestHead) bool {
		return r.err == errLineEnding || r.err == errFieldLine
	}},
	{"we bound the number of fields", func(_ string, r *RequestHead) bool { return r.err == errTooManyFields }},
	{"we refuse the largest length that fits: it stands for those that do not", func(_ string, r *RequestHead) bool { return r.err == errBodyTooLong }},
	{"net/http wants a Trailer field not to name framing fields", func(_ string, r *RequestHead) bool { return r.Get("trailer") != nil }},
}

func firstLineOf(head string) string {
	line, _, _ := strings.Cut(head, "\r\n")
	return line
}

func hasByteAbove(s string, most byte) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r > rune(most) })
}

// FuzzParserAgainstNetHTTP gives both parsers the same bytes. They must agree
// on whether they are a request, and which, or one of the differences must explain
// the disagreement.
func FuzzParserAgainstNetHTTP(f *testing.F) {
	for _, seed := range []string{
		get("/"), get("/a?b=c", "A: b\r\n", "Content-Length: 5\r\n"), post("/", "hello"), chunkedPost(""),
		"GET http://a/b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET / HTTP/1.1\nHost: x\n\n", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "\r\n" + get("/"), get("/", "Content-Length: 5, 5\r\n"),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n := HeadLength(text, 0)
		if n == 0 {
			CheckPartialHead(text, 0, 1000)
			return
		}
		head := string(text[:n])
		var ours RequestHead
		refused := ours.Parse([]byte(head), 100)
		ours.err = refused
		theirs, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
		wrong := ""
		switch {
		case (refused == nil) != (err == nil):
			wrong = "one of them refuses it"
		case refused != nil:
			return
		case string(ours.Method) != theirs.Method:
			wrong = "method"
		case theirs.URL.Path != string(ours.Path):
			wrong = "path"
		case ours.Length != theirs.ContentLength:
			wrong = "length"
		case ours.Persists() == theirs.Close && ours.Minor == 1:
			wrong = "persistence"
		}
		if wrong == "" {
			return
		}
		for _, d := range differences {
			if d.holds(head, &ours) {
				return
			}
		}
		t.Fatalf("%s differs in %q\n  ours:   %+v, %v\n  theirs: %+v, %v", wrong, head, ours.Target, refused, theirs, err)
	})
}

// FuzzChunks cuts a chunked body at any place. Where the body ends must not depend
// on the cut, and net/http's reader must accept all that we accept, with the same
// result.
func FuzzChunks(f *testing.F) {
	for _, seed := range []string{"5\r\nhello\r\n0\r\n\r\n", "1;a=b\r\nx\r\n0\r\nA: b\r\n\r\n", "0\r\n\r\nGET", "ffffffffffffffff\r\n", "5\nhello"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		whole, _ := NewBodyDecoder(Chunked, 1000, 1000)
		body, rest, refused := decodeAll(whole, string(text), len(text)+1)
		pieces, _ := NewBodyDecoder(Chunked, 1000, 1000)
		cutBody, cutRest, cutRefused := decodeAll(pieces, string(text), max(1, cut))
		require.Equal(t, refused, cutRefused, "%q", text)
		require.Equal(t, body, cutBody)
		if refused == nil {
			require.Equal(t, rest, cutRest)
		}
		if refused == nil && !bytes.Contains(text, []byte("00000000")) { // net/http reads 16 digits, zeros among them
			theirs, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(text)))
			require.NoError(t, err, "we accept %q", text)
			require.Equal(t, string(theirs), body)
		}
	})
}
