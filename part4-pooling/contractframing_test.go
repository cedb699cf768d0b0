package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Contract: bodies pass piece by piece, and their framing is the gateway's own.

// What a backend sends is forwarded immediately, not when the response is complete.
func TestResponseIsStreamed(t *testing.T) {
	t.Parallel()
	next := make(chan string)
	addr := contractGateway(t, inPieces(t, next))
	c := converse(t, addr, get("/", closeField))
	s := transcript{sent: get("/", closeField), rule: "house rule: bytes are forwarded as they arrive", look: "gateway.go, copyResponse", end: errOpen}
	step := func(piece, want string) {
		t.Helper()
		send(t, next, piece, "the backend has sent its last piece")
		c.SetReadDeadline(time.Now().Add(patience()))
		for b := make([]byte, 1<<10); !strings.Contains(s.got, want); {
			n, err := c.Read(b)
			if s.got += string(b[:n]); err != nil {
				s.end = err
				s.fail(t, len(s.got), "the backend has sent %q, which has not arrived (%s)", want, s.describeEnd())
			}
		}
	}

	step("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nfirst\r\n", "first")
	step("6\r\nsecond\r\n", "second")
	step("0\r\n\r\n", "\r\n0\r\n\r\n")
}

// Once a byte of the response is sent the status cannot change: all a gateway can do
// is truncate. One that has sent nothing yet may say 502.
func TestTruncatedResponseIsNotMadeWhole(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100_000)
	for name, answer := range map[string]string{
		"a length":    "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + long,
		"chunked":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + long + "\r\n",
		"a bad chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + long + "\r\nxyz\r\n",
		"short":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
	} {
		t.Run(name, func(t *testing.T) {
			addr := contractGateway(t, func(c *net.TCPConn, _ int) {
				c.Read(make([]byte, 4<<10))
				io.WriteString(c, answer)
			})

			s := sendAndRead(t, addr, "house rule, RFC 9112 §8: a client can see that a truncated response is truncated", "gateway.go, copyResponse", get("/", closeField))

			if strings.HasPrefix(s.got, "HTTP/1.1 502 ") {
				s.wantWhole(t)
				return
			}
			s.wantPrefix(t, "HTTP/1.1 200 ")
			if at := strings.LastIndex(s.got, "HTTP/1."); at > 0 {
				s.fail(t, at, "a second status line is a part of the body")
			}
			r := s.parse(t)
			switch {
			case strings.HasSuffix(s.got, "\r\n0\r\n\r\n"):
				s.fail(t, len(s.got)-5, "the response ends as if it were whole: a lie that a cache believes")
			case r.fields["content-length"] == fmt.Sprint(len(r.body)), r.fields["content-length"] == "" && r.fields["transfer-encoding"] == "" && s.end == nil:
				s.fail(t, len(s.got), "the response has %d bytes and ends as if it were whole", len(r.body))
			}
		})
	}
}

// A client that does not read makes the backend wait: the gateway buffers for
// neither, in memory or in a file.
func TestSlowReaderStopsTheBackend(t *testing.T) {
	t.Parallel()
	const much, most = 512 << 20, 64 << 20
	stopped := make(chan int64, 1)
	addr := contractGateway(t, func(c *net.TCPConn, number int) {
		c.Read(make([]byte, 4<<10))
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", much)
		var sent int64
		piece := make([]byte, 64<<10)
		for sent < most {
			c.SetWriteDeadline(time.Now().Add(600 * time.Millisecond)) // can miss a fault, but not report a false one
			n, err := c.Write(piece)
			if sent += int64(n); err != nil {
				break
			}
		}
		if number == 1 {
			stopped <- sent
		}
	})

	converse(t, addr, get("/", closeField)) // never reads

	sent := receive(t, stopped, "the backend has to stop")
	require.Less(t, sent, int64(most), "the backend has sent so many bytes to a client that reads none.\n  rule: house rule: a client that does not read stops the backend, by flow control\n  look: gateway.go, copyResponse")
}

const ruleFraming = "MUST, RFC 9112 §6: framing is for one connection, so each side writes its own"

func TestFramingOfTheRequestIsWrittenAnew(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]string{
		"named by Connection":  "POST / HTTP/1.1\r\nHost: x\r\nConnection: close, Content-Length, Host\r\nContent-Length: 3\r\n\r\nabc",
		"zeros before":         "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 003\r\n\r\nabc",
		"chunks with an extra": "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\na\r\n0002\r\nbc\r\n0\r\n\r\n",
		"another case":         "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\ntransfer-encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			back, seen := recording(lastOK("ok"))

			front := sendAndRead(t, contractGateway(t, back), ruleFraming, "request.go, AppendTo", sent)

			front.wantAnswer(t, "200", "ok")
			q, s := received(t, seen, front)
			s.wantPrefix(t, "POST / HTTP/1.1\r\n")
			s.wantField(t, "Host", "x")
			if len(s.fieldLines("Content-Length"))+len(s.fieldLines("Transfer-Encoding")) != 1 {
				s.fail(t, strings.Index(s.got, "\r\n\r\n"), "want one framing; Content-Length is %q, Transfer-Encoding %q", s.fieldLines("Content-Length"), s.fieldLines("Transfer-Encoding"))
			}
			s.wantSame(t, "the body", "abc", q.body)
			if strings.Contains(s.got, ";a=b") {
				s.fail(t, strings.Index(s.got, ";a=b"), "a chunk extension was passed on")
			}
		})
	}
}

// A target with a host in it leaves no other: the backend must not see two. A gateway
// that refuses two which differ is as safe.
func TestHostOfTheTargetIsForwarded(t *testing.T) {
	t.Parallel()
	back, seen := recording(lastOK("ok"))

	front := sendAndRead(t, contractGateway(t, back), "MUST, RFC 9112 §3.2.2: the host of an absolute target replaces Host", "request.go, parseTarget", "GET http://other.example:81/a?b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

	if strings.HasPrefix(front.got, "HTTP/1.1 400 ") && len(seen) == 0 {
		return
	}
	front.wantAnswer(t, "200", "ok")
	q, s := received(t, seen, front)
	s.wantField(t, "Host", "other.example:81")
	s.wantSame(t, "the path and query", "/a?b", q.URL.RequestURI()[max(0, strings.Index(q.URL.RequestURI(), "/a")):])
}

// A request that two programs could frame differently must not be forwarded.
func TestAmbiguousRequestIsNotForwarded(t *testing.T) {
	t.Parallel()
	const evil = "GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"
	const house = "house rule: ambiguous framing is refused even where RFC 9112 lets a server guess"
	for name, c := range map[string]struct{ sent, rule string }{
		"both framings":       {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", house},
		"two lengths":         {fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: %d\r\n\r\n", len(evil)), "MUST, RFC 9112 §6.3: two lengths that differ are 400"},
		"a hidden coding":     {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "MUST, RFC 9112 §6.3: a coding that does not end in chunked is 400, or 501"},
		"a space and a colon": {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n", "MUST, RFC 9112 §5.1: a space before the colon is 400"},
		"a space, a colon":    {"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", "MUST, RFC 9112 §5.1: a space before the colon is 400"},
		"a bare LF":           {"POST / HTTP/1.1\r\nHost: x\r\nA: b\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", house},
		"HTTP/1.0, chunked":   {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "house rule, RFC 9112 §6.1: chunked in HTTP/1.0 is faulty framing"},
		"a sign":              {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n", "MUST, RFC 9112 §6.3: a length is digits, else 400"},
		"two hosts":           {"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "MUST, RFC 9112 §3.2: two Host fields are 400"},
		"no host":             {"GET / HTTP/1.1\r\n\r\n", "MUST, RFC 9112 §3.2: HTTP/1.1 without Host is 400"},
		"a bare CR":           {"GET / HTTP/1.1\r\nHost: x\r\nA: b\rTransfer-Encoding: chunked\r\n\r\n", "house rule, RFC 9112 §2.2: a CR without LF is refused even where a proxy may make a space of it"},
		"a bad chunk size":    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n", "house rule, RFC 9112 §7.1: a chunk size is hexadecimal digits, and a request with another is refused"},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan backendRequest, 10)
			addr := contractGateway(t, answering(seen, func(q backendRequest) string { return lastOK(q.URL.Path) }))

			front := sendAndRead(t, addr, c.rule, "request.go, Parse", c.sent+evil)

			status := "400"
			if strings.HasPrefix(front.got, "HTTP/1.1 501 ") { // right for an unknown coding
				status = "501"
			} else if name == "a bad chunk size" && strings.HasPrefix(front.got, "HTTP/1.1 502 ") { // the backend was asked already
				status = "502"
			}
			front.wantPrefix(t, "HTTP/1.1 "+status+" ")
			for len(seen) > 0 {
				if q := <-seen; q.end == nil {
					front.fail(t, 0, "the backend got %s", clip(q.raw))
				}
			}
		})
	}
}

// A response of doubtful length is not forwarded. Where RFC 9112 lets a proxy repair
// one, a repaired one is as good.
func TestAmbiguousResponseIs502(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ answer, rule, bad string }{
		"both framings":      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "MUST, RFC 9112 §6.3: a proxy that passes chunks on removes the length", "\r\nContent-Length: 5\r\n"},
		"two lengths":        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "MUST, RFC 9112 §6.3: a proxy answers 502 for a response with an invalid length", "HTTP/1.1 200 "},
		"a bad length":       {"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello", "MUST, RFC 9112 §6.3: a proxy answers 502 for a response with an invalid length", "HTTP/1.1 200 "},
		"a folded line":      {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n", "MUST, RFC 9112 §5.2: a proxy unfolds a line, or answers 502", "b\r\n c"},
		"space before colon": {"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello", "MUST, RFC 9112 §5.1: a proxy removes a space before a colon, or answers 502", "Content-Length :"},
		"a bare CR":          {"HTTP/1.1 200 OK\r\nA: b\rX: c\r\nContent-Length: 0\r\n\r\n", "MUST, RFC 9112 §2.2: a proxy makes a space of a CR without LF, or answers 502", "b\rX"},
		"an unasked upgrade": {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "house rule, RFC 9110 §7.8: no server switches to a protocol that was not asked for", "HTTP/1.1 101 "},
	} {
		t.Run(name, func(t *testing.T) {
			addr := contractGateway(t, func(back *net.TCPConn, _ int) {
				back.Read(make([]byte, 4<<10))
				io.WriteString(back, c.answer)
			})

			s := sendAndRead(t, addr, c.rule, "http1/response.go, Parse", get("/", closeField))

			if at := strings.Index(s.got, c.bad); at >= 0 {
				s.fail(t, at, "want 502; it was passed on")
			}
			s.wantPrefix(t, "HTTP/1.1 ")
		})
	}
}
