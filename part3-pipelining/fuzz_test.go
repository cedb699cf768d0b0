package main

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Where our parser and net/http's differ, one of these must be the reason. We
// are the stricter one but for the last.
var differences = []struct {
	why   string
	holds func(head string, r *requestHead) bool
}{
	{"net/http accepts bare LF as a line end", func(head string, _ *requestHead) bool {
		return strings.Count(head, "\n") != strings.Count(head, "\r\n")
	}},
	{"net/http joins folded lines", func(head string, _ *requestHead) bool {
		return strings.Contains(head, "\n ") || strings.Contains(head, "\n\t")
	}},
	{"net/http accepts an empty line within the first line's space, and does not skip one before it", func(head string, _ *requestHead) bool {
		return strings.HasPrefix(head, "\r\n")
	}},
	{"net/http's ReadRequest leaves Host, and what is in it, to its server", func(_ string, r *requestHead) bool {
		return r.refused == errHost || r.hosts != 1
	}},
	{"net/http accepts Content-Length fields that say the same, and lists them", func(_ string, r *requestHead) bool {
		return r.lengths > 1 || r.refused == errLength
	}},
	{"net/http drops Content-Length when there is a Transfer-Encoding", func(_ string, r *requestHead) bool {
		return r.lengths > 0 && r.codings > 0
	}},
	{"net/http ignores Transfer-Encoding in HTTP/1.0, and refuses all but chunked with 501", func(_ string, r *requestHead) bool {
		return r.codings > 0 && (r.minor == 0 || !r.chunked || r.codings > 1)
	}},
	{"net/http serves HTTP/2.0's preface, and any HTTP/1.x", func(head string, _ *requestHead) bool {
		return !strings.Contains(firstLineOf(head), " HTTP/1.1") && !strings.Contains(firstLineOf(head), " HTTP/1.0")
	}},
	{"net/http's ReadRequest leaves targets that are no path (CONNECT, *, other schemes, fragments) to its server, and parses more of a URL", func(head string, r *requestHead) bool {
		target := string(r.target)
		return target == "" || target[0] != '/' || strings.ContainsAny(target, "#%\"<>\\^`{|}[]") || strings.HasPrefix(target, "//") ||
			string(r.method) == "CONNECT" || strings.ContainsAny(firstLineOf(head), "\x00\t\x7f") || hasByteAbove(firstLineOf(head), 0x7e)
	}},
	{"net/http cuts the first line at its first and last space, and trims it", func(head string, _ *requestHead) bool {
		return strings.Count(firstLineOf(head), " ") != 2 || strings.TrimSpace(firstLineOf(head)) != firstLineOf(head)
	}},
	{"net/http leaves Expect to its server", func(_ string, r *requestHead) bool { return r.refused == errExpect }},
	{"net/http accepts control bytes in values, and names that are no token, in ReadRequest", func(_ string, r *requestHead) bool {
		return r.refused == errNewline || r.refused == errField
	}},
	{"we bound the number of fields", func(_ string, r *requestHead) bool { return r.refused == errTooMany }},
	{"we refuse the largest length that fits: it stands for those that do not", func(_ string, r *requestHead) bool { return r.refused == errBodyLong }},
	{"net/http wants a Trailer field not to name framing fields", func(_ string, r *requestHead) bool { return r.get("trailer") != nil }},
}

func firstLineOf(head string) string {
	line, _, _ := strings.Cut(head, "\r\n")
	return line
}

func hasByteAbove(s string, most byte) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r > rune(most) })
}

// FuzzParserAgainstNetHTTP gives both parsers the same bytes. They must agree
// on whether it is a request, and on what it says, or one of the differences
// explains it.
func FuzzParserAgainstNetHTTP(f *testing.F) {
	ours(f)
	for _, seed := range []string{
		get("/"), get("/a?b=c", "A: b\r\n", "Content-Length: 5\r\n"), post("/", "hello"), chunkedPost(""),
		"GET http://a/b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET / HTTP/1.1\nHost: x\n\n", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "\r\n" + get("/"), get("/", "Content-Length: 5, 5\r\n"),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n := findHead(text, 0)
		if n == 0 {
			hopeless(text, 1000)
			return
		}
		head := string(text[:n])
		var ours requestHead
		refused := ours.parse([]byte(head), 100)
		ours.refused = refused
		theirs, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
		wrong := ""
		switch {
		case (refused == nil) != (err == nil):
			wrong = "one of them refuses it"
		case refused != nil:
			return
		case string(ours.method) != theirs.Method:
			wrong = "method"
		case theirs.URL.Path != string(ours.path):
			wrong = "path"
		case ours.length != theirs.ContentLength:
			wrong = "length"
		case ours.persists() == theirs.Close && ours.minor == 1:
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
		t.Fatalf("%s differs in %q\n  ours:   %+v, %v\n  theirs: %+v, %v", wrong, head, ours.target, refused, theirs, err)
	})
}

// FuzzChunks cuts a chunked body at any place. Where it ends must not depend on
// the cut, and whatever we accept net/http's reader accepts, with the same body.
func FuzzChunks(f *testing.F) {
	ours(f)
	for _, seed := range []string{"5\r\nhello\r\n0\r\n\r\n", "1;a=b\r\nx\r\n0\r\nA: b\r\n\r\n", "0\r\n\r\nGET", "ffffffffffffffff\r\n", "5\nhello"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		whole, _ := frame(chunked, 1000, 1000)
		body, rest, refused := taken(whole, string(text), len(text)+1)
		pieces, _ := frame(chunked, 1000, 1000)
		cutBody, cutRest, cutRefused := taken(pieces, string(text), max(1, cut))
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

// FuzzConnection sends any bytes at all, in two writes. The server must answer
// in well-formed HTTP or not at all, and close.
func FuzzConnection(f *testing.F) {
	for _, seed := range []string{get("/"), post("/echo", "hello"), chunkedPost("5\r\nhello\r\n0\r\n\r\n"), get("/stream/2") + get("/"), "GET / HTTP/1.0\r\n\r\n", "\x16\x03"} {
		f.Add([]byte(seed), 3)
	}
	s := start(f, func(s *server) { s.limits.lingerTime = short })
	f.Fuzz(func(t *testing.T, sent []byte, cut int) {
		if bytes.Contains(sent, []byte("sleep")) {
			return // it would
		}
		c := dial(t, s.addr)
		cut = max(0, min(cut, len(sent)))
		c.Write(sent[:cut])
		c.Write(sent[cut:])
		c.CloseWrite()
		x := story{sent: string(sent), rule: "MUST, RFC 9112 §2.1: an answer is well-formed", look: "response.go"}.hear(c)
		if x.got != "" {
			x.reply(t)
		}
	})
}

// soak is how long the tests that can go on do go on: SOAK=2m go test -run 'Garbage|Load'
func soak(t testing.TB) time.Duration {
	t.Helper()
	text := os.Getenv("SOAK")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err, "$SOAK")
	return d
}

// Random bytes and random ends leave the server as it was: no descriptor, no
// goroutine, no connection more.
func TestGarbageLeavesNothingBehind(t *testing.T) {
	r := start(t, func(s *server) {
		s.limits.headTime, s.limits.bodyTime, s.limits.lingerTime, s.limits.idleTime = short, short, short, short
	})
	tell(t, r.addr, "", "", get("/", closing))
	goroutines, open, heap := runtime.NumGoroutine(), descriptors(), live()
	begin, sent := time.Now(), 0
	random := rand.New(rand.NewPCG(1, 2))
	parts := []string{get("/"), get("/stream/3"), post("/echo", "hello"), chunkedPost("5\r\nhello\r\n"), "\r\n\r\n", "GET ", "\x00\xff", get("/sleep/1s"), "HTTP/1.1\r\n", ": ", closing}
	for ; sent < 400 || time.Since(begin) < soak(t); sent++ {
		c, err := net.DialTimeout("tcp", r.addr, patience())
		require.NoError(t, err)
		c.SetDeadline(time.Now().Add(patience()))
		for range random.IntN(5) {
			io.WriteString(c, parts[random.IntN(len(parts))])
		}
		junk := make([]byte, random.IntN(100))
		for j := range junk {
			junk[j] = byte(random.IntN(256))
		}
		c.Write(junk)
		if sent%3 == 0 {
			c.(*net.TCPConn).SetLinger(0) // close with a reset
		}
		c.Close()
	}

	s := tell(t, r.addr, "house rule: one client's rubbish is not another's", "conn.go", get("/", closing))

	s.begins(t, "HTTP/1.1 200 ")
	eventually(t, "no connection is open", func() bool { return r.count() == 0 })
	eventually(t, "as many descriptors are open as before", func() bool { return descriptors() <= open })
	eventually(t, "as many goroutines run as before", func() bool { return runtime.NumGoroutine() <= goroutines+1 }) // eventually has one
	t.Logf("%d connections of rubbish in %v; before and after: %d and %d descriptors, %d and %d goroutines, %d and %d KiB of live heap",
		sent, time.Since(begin).Round(time.Second), open, descriptors(), goroutines, runtime.NumGoroutine(), heap>>10, live()>>10)
}

// descriptors counts the open file descriptors of this process.
func descriptors() (open int) {
	for fd := range 4096 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			open++
		}
	}
	return open
}

// Resets in the middle of everything harm nobody else.
func TestResetsInTheMiddleOfEverything(t *testing.T) {
	r := start(t)
	for name, sent := range map[string]string{
		"of an answer":   get("/stream/1000000"),
		"of a pipeline":  strings.Repeat(get("/sleep/20ms"), 20),
		"of a body":      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhello",
		"of a chunk":     chunkedPost("5\r\nhe"),
		"of a head":      "GET / HT",
		"of everything":  get("/stream/1000000") + post("/echo", "hello") + get("/sleep/1s") + "GET",
		"of an expected": "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 10 {
				c := converse(t, r.addr, sent)
				if i%2 == 0 {
					c.SetReadDeadline(time.Now().Add(time.Millisecond)) // let it begin, or not
					c.Read(make([]byte, 10))
				}
				c.SetLinger(0)
				c.Close()
			}

			s := tell(t, r.addr, "house rule: one client's end is not another's", "conn.go, kill", get("/", closing))
			s.begins(t, "HTTP/1.1 200 ")
		})
	}
	eventually(t, "no connection is open", func() bool { return r.count() == 0 })
	assert.NotContains(t, r.logs.String(), "panic")
}
