package main

import (
	"io"
	"math"
	"net"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/server"
	"socketup/part3-pipelining/socket"
)

// The network decides how the bytes of a request are fragmented. That must not
// change what they mean.

const longestLine = 256 // bytes of a chunk's size line

const ruleFragmentation = "house rule: the same bytes mean the same however they are fragmented (RFC 9112 §2.2: a message is a sequence of octets)"

var dateLine = regexp.MustCompile("Date: [^\r]*\r\n")

// sendCut sends each piece to r when the server has read the one before, and
// returns everything it sends back, without the date.
func sendCut(t *testing.T, r *testServer, pieces ...string) string {
	t.Helper()
	spin(t, "the previous connection is closed", func() bool { return r.Connections() == 0 })
	c := dial(t, r.addr)
	for i, piece := range pieces {
		io.WriteString(c, piece) // fails when the server has closed
		if i < len(pieces)-1 {
			awaitRead(t, c)
		}
	}
	c.CloseWrite()
	s := transcript{sent: strings.Join(pieces, ""), rule: ruleFragmentation, look: "partial.go, CheckPartialHead; takerequest.go, scanHead"}.readAll(c)
	s.wantCleanEnd(t)
	return dateLine.ReplaceAllString(s.got, "")
}

// awaitRead waits until the server, which runs in this process, has read
// everything sent on c.
func awaitRead(t *testing.T, c *net.TCPConn) {
	t.Helper()
	fd := -1
	spin(t, "the server has read everything sent", func() bool {
		if fd < 0 || !isPeer(fd, c) { // not accepted yet, or closed already
			fd = peerDescriptor(c)
		}
		n, err := unix.IoctlGetInt(max(fd, 0), unix.TIOCINQ)
		return fd >= 0 && err == nil && n == 0
	})
}

// peerDescriptor returns the descriptor, in this process, of the server's end
// of c, or -1 if there is none.
func peerDescriptor(c *net.TCPConn) int {
	for fd := range 1000 {
		if isPeer(fd, c) {
			return fd
		}
	}
	return -1
}

func isPeer(fd int, c *net.TCPConn) bool {
	peer, err := unix.Getpeername(fd)
	return err == nil && socket.AddrPort(peer) == c.LocalAddr().(*net.TCPAddr).AddrPort()
}

// spinning is held by the test that spins: two would leave no processor to all
// others.
var spinning sync.Mutex

// spin is eventually for conditions that hold within microseconds and are
// awaited thousands of times: it does not sleep.
func spin(t *testing.T, state string, reached func() bool) {
	t.Helper()
	spinning.Lock()
	defer spinning.Unlock()
	for deadline := time.Now().Add(maxWait); !reached(); runtime.Gosched() {
		require.Less(t, time.Now(), deadline, "timed out waiting until "+state)
	}
}

func TestRequestParsesTheSameHoweverItIsFragmented(t *testing.T) {
	t.Parallel()
	r := startServer(t)
	chunked := func(body string) string {
		return "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + body
	}
	for _, text := range []string{
		"\r\n\r\n" + get("/a?b=c", "A: b\r\n") + get("/"),
		post("/echo", "hello") + "\r\n" + get("/"),
		chunked("5;a=\"b;c\" ; d\r\nhello\r\n0\r\nA: b\r\n\r\n") + get("/"),
		chunked("0000000000000000000000005\r\nhello\r\n00000000000000000000\r\n\r\n") + get("/"),
		chunked("5;\r\nhello\r\n0\r\n\r\n") + get("/"),
		chunked("5\r\nhello\r\n0\r\nA: b\nC: d\r\n\r\n"),
		chunked("5\r\nhello\r\n0\r\n A: b\r\n\r\n"),
		chunked("5\r\nhello\r\n0\r\n\n\r\n\r\n"),
		chunked("5\r\nhello\r\n0\r\nA b\r\nC: d\n\r\n\r\n"),
		chunked("5\r\nhel"),
		"GET / HTTP/1.1\nHost: x\n\n",
		"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
		"GET / HTTP/2.0\r\nHost\n: x\r\n\r\n", // 505, or 400 seven bytes later
		"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\nA: b\n\r\n\r\n",
		"GET /\\ HTTP/1.1\r\nHost: x\r\n\r\n",
		"\rGET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"\x16\x03\n\x01\r\n\r\n",
		"\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"GET / HTTP/1.1\r\nHost",
	} {
		whole := sendCut(t, r, text)
		for cut := 1; cut < len(text); cut++ {
			require.Equal(t, whole, sendCut(t, r, text[:cut], text[cut:]), "%s: %q, and then %q", ruleFragmentation, text[:cut], text[cut:])
		}
		require.Equal(t, whole, sendCut(t, r, strings.Split(text, "")...), "%s: %q, one byte at a time", ruleFragmentation, text)
	}
}

// Each of these is at a limit, or one byte over it.
func TestLimitsDoNotDependOnFragmentation(t *testing.T) {
	t.Parallel()
	const most = 1000
	r := startServer(t, func(s *server.Server) { s.Limits.Head, s.Limits.Body = most, most })
	long := func(begin string, n int, end string) string { // n bytes long
		return begin + strings.Repeat("a", n-len(begin)-len(end)) + end
	}
	const version = " HTTP/1.1\r\nHost: x\r\n\r\n"
	trailers := func(n int) string {
		return chunkedPost("5\r\nhello\r\n0\r\n" + long("A: ", n, "\r\n\r\n"))
	}
	for name, c := range map[string]struct{ text, status string }{
		"the longest head":          {long("GET /?", most, version), "200"},
		"a head one byte longer":    {long("GET /?", most+1, version), "431"},
		"a target that is too long": {long("GET /?", 2*most, version), "414"},
		"and has what none may":     {long("GET /?\\", 2*most, version), "400"},
		"and what none may beyond":  {long("GET /?", most, "") + "\\" + version, "414"},
		"a method that is too long": {long("", 2*most, " /"+version), "501"},
		"and is none":               {long("G\x00", 2*most, " /"+version), "400"},
		"a field that is too long":  {get("/", long("A: ", 2*most, "\r\n")), "431"},
		"a bare LF before":          {get("/", "B: b\n", long("A: ", 2*most, "\r\n")), "400"},
		"a bare LF beyond":          {get("/", long("A: ", 2*most, "\r\n"), "B: b\n"), "431"},
		"garbage of any length":     {"\x16" + strings.Repeat("a", 2*most) + "\r\n\r\n", "400"},
		"the longest trailers":      {trailers(most), "200"},
		"trailers one byte longer":  {trailers(most + 1), "431"},
		"a bare LF in long ones":    {chunkedPost("5\r\nhello\r\n0\r\nB: b\nC: " + strings.Repeat("a", 2*most) + "\r\n\r\n"), "400"},
		"the longest chunk line":    {chunkedPost(long("5;a=", longestLine-2, "\r\n") + "hello\r\n0\r\n\r\n"), "200"},
		"a longer one":              {chunkedPost(long("5;a=", longestLine+1, "\r\n") + "hello\r\n0\r\n\r\n"), "400"},
		"zeros as long as the line": {chunkedPost(strings.Repeat("0", longestLine-3) + "5\r\nhello\r\n0\r\n\r\n"), "200"},
		"a longer body":             {chunkedPost("3e9\r\n" + strings.Repeat("a", most+1) + "\r\n0\r\n\r\n"), "413"},
	} {
		t.Run(name, func(t *testing.T) {
			whole := sendCut(t, r, c.text)
			require.Contains(t, whole[:min(len(whole), 13)], "HTTP/1.1 "+c.status+" ", "%s: partial.go, CheckPartialHead; framing.go, Decode", ruleFragmentation)
			n := len(c.text)
			cuts := []int{1, 2, 5, 100, n - 8, n - 6, n - 4, n - 3, n - 2, n - 1}
			for near := range 9 {
				cuts = append(cuts, most-4+near, longestLine-4+near, len(chunkedPost(""))+longestLine-4+near, len(chunkedPost("5\r\nhello\r\n0\r\n"))+most-4+near)
			}
			for _, cut := range cuts {
				if 0 < cut && cut < n {
					require.Equal(t, whole, sendCut(t, r, c.text[:cut], c.text[cut:]), "%s: cut at %d of %d", ruleFragmentation, cut, n)
				}
			}
		})
	}
}

// A Content-Length that does not fit in an integer is refused, not clamped to
// the largest one that does.
func TestContentLengthThatOverflowsIsRefused(t *testing.T) {
	t.Parallel()
	r := startServer(t, func(s *server.Server) { s.Limits.Body = math.MaxInt64 })
	for _, length := range []string{"9223372036854775807", "9223372036854775808", "18446744073709551621", strings.Repeat("9", 100)} {
		got := sendCut(t, r, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: "+length+"\r\n\r\nhello")

		assert.Contains(t, got, "HTTP/1.1 413 ", "house rule, RFC 9110 §8.6: no length is clamped; %s. request.go, recordField", length)
	}
}
