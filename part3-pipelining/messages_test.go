package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Rules that a server can break though it answers every request of a careful client.

func TestRequestsArriveInAnyPieces(t *testing.T) {
	s := sendAndRead(t, contract(t), "MUST, RFC 9112 §2.2: TCP is a stream, and a read may return any part of what was sent, read(2)", "takerequest.go, scanHead",
		strings.Split(get("/")+get("/", closeField), "")...)

	for _, r := range s.parseAll(t, getMethods(2)...) {
		s.wantSame(t, "the body", "Hello, World!\n", r.body)
	}
}

// The client waits for each response before it sends the next request.
func TestRequestsTakeTurns(t *testing.T) {
	const turns = 5
	c := dial(t, contract(t))
	in := bufio.NewReader(c)
	for i := range turns {
		_, err := io.WriteString(c, get("/"))
		require.NoError(t, err)
		s := transcript{sent: get("/"), rule: "MUST, RFC 9112 §9.3: a connection persists unless a message says close", look: "takerequest.go, endTurn"}

		r, err := http.ReadResponse(in, nil)
		if err == nil {
			var body []byte
			body, err = io.ReadAll(r.Body)
			s.wantSame(t, "the body", "Hello, World!\n", string(body))
		}
		if err != nil {
			s.fail(t, 0, "response %d of %d does not come while the client waits: %v", i+1, turns, err)
		}
	}
}

func TestConnectionIsAListOfOptions(t *testing.T) {
	addr := contract(t)
	for name, c := range map[string]struct{ field, after string }{
		"two options":       {"Connection: keep-alive, close\r\n", ""},
		"two lines":         {"Connection: te\r\nConnection: close\r\n", ""},
		"in capitals":       {"CONNECTION: CLOSE\r\n", ""},
		"an empty element":  {"Connection: ,\t close ,\r\n", ""},
		"no space anywhere": {"Connection:te,close\r\n", ""},
		"a request after":   {"Connection: te, close\r\n", get("/", closeField)},
	} {
		t.Run(name, func(t *testing.T) {
			s := sendAndRead(t, addr, "MUST, RFC 9112 §9.6 and RFC 9110 §7.6.1: Connection is a list of options in any case, and after close no request is served", "request.go, recordConnection",
				get("/")+get("/", c.field)+c.after)

			s.parseAll(t, getMethods(2)...)
			s.wantCleanEnd(t)
		})
	}
}

func TestRefusalSaysThatItCloses(t *testing.T) {
	s := sendAndRead(t, contract(t), "SHOULD, RFC 9112 §9.6: a response after which the server closes says close", "takerequest.go, newRequest", "GET / HTTP/1.1 x\r\nHost: x\r\n\r\n")

	s.wantPrefix(t, "HTTP/1.1 400 ")
	s.wantSame(t, "Connection", "close", strings.ToLower(s.parseAll(t, "GET")[0].fields["connection"]))
}

const ruleErrorToHEAD = "MUST NOT, RFC 9110 §9.3.2: no content in the response to HEAD, an error's neither"

func TestErrorToHEADHasNoBody(t *testing.T) {
	addr := contract(t)
	for name, c := range map[string]struct{ target, field, status string }{
		"of a path":      {"/none", "", "404"},
		"of a method":    {"/echo", "", "405"},
		"of a length":    {"/", "Content-Length: x\r\n", "400"},
		"of two Hosts":   {"/", "Host: y\r\n", "400"},
		"of a parameter": {"/sleep/soon", "", "400"},
		"of a bare LF":   {"/", "X: y\n", "400"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sendAndRead(t, addr, ruleErrorToHEAD, "response.go, bodiless",
				strings.Replace(get(c.target, c.field+closeField), "GET", "HEAD", 1))

			s.wantPrefix(t, "HTTP/1.1 "+c.status+" ")
			s.parseAll(t, "HEAD")
		})
	}
}

// The head has no end, but its first line says HEAD. A server may also close without a
// response.
func TestErrorToHalfAHEADHasNoBody(t *testing.T) {
	addr := contract(t)
	for name, sent := range map[string]string{
		"in a field":      "HEAD / HTTP/1.1\r\nHost: sock",
		"after a bare LF": "HEAD / HTTP/1.1\r\nHost: x\nX: y",
	} {
		t.Run(name, func(t *testing.T) {
			c := converse(t, addr, sent)
			require.NoError(t, c.CloseWrite())

			s := transcript{sent: sent + "FIN", rule: ruleErrorToHEAD, look: "takerequest.go, newRequest"}.readAll(c)

			if s.got != "" {
				s.parseAll(t, "HEAD")
			}
		})
	}
}

// A slow machine can make this test miss a fault, but not report one that does not
// exist: the pause lets a server read the head by itself, and ask for the body.
func TestExpectationOfHTTP10IsIgnored(t *testing.T) {
	const head, pause = "POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", 100 * time.Millisecond
	s := transcript{sent: head, rule: "MUST, RFC 9110 §10.1.1: the expectation of an HTTP/1.0 client is ignored: it knows no interim response", look: "request.go, Parse"}
	c := converse(t, contract(t), head)
	c.SetReadDeadline(time.Now().Add(pause))
	early := make([]byte, 20)
	if n, err := c.Read(early); !errors.Is(err, os.ErrDeadlineExceeded) {
		s.got = string(early[:n])
		s.fail(t, 0, "there is a response before the body")
	}

	io.WriteString(c, "hello")

	s = s.readAll(c).allowAnyVersion()
	s.wantPrefix(t, "HTTP/1.1 200 ")
	s.wantSame(t, "the body", "hello", s.parseAll(t, "POST")[0].body)
}

// A trailer comes after the head, for whoever wants to read it: it changes no request.
func TestTrailerIsNoField(t *testing.T) {
	s := sendAndRead(t, contract(t), "MUST NOT, RFC 9110 §6.5.1: trailers are not merged into the fields of the head", "framing.go, Decode",
		chunkedPost("5\r\nhello\r\n0\r\nContent-Type: text/trailer\r\n\r\n")+get("/", closeField))

	r := s.parseUntilClose(t, "POST", "GET")
	s.wantSame(t, "Content-Type", "text/x-test", r[0].fields["content-type"])
	s.wantSameNext(t, "the response to the request after the body", "Hello, World!\n", r[1:])
}

func TestUnreadChunksAreSkipped(t *testing.T) {
	addr := contract(t)
	const smuggled = "2b\r\nGET /smuggled HTTP/1.1\r\nHost: socket.up\r\n\r\n\r\n0\r\n\r\n"
	for name, line := range map[string]string{"of a GET": "GET / ", "of an unknown path": "POST /none "} {
		t.Run(name, func(t *testing.T) {
			s := sendAndRead(t, addr, "MUST, RFC 9112 §6 and §9.3: read the whole body or close the connection", "body.go, discard",
				strings.Replace(chunkedPost(smuggled), "POST /echo ", line, 1)+get("/", closeField))

			s.wantSameNext(t, "the response to the request after the body", "Hello, World!\n", s.parseUntilClose(t, "POST", "GET")[1:])
		})
	}
}

// The client closes its sending half in the middle of a head.
func TestTruncatedHeadIsNotServed(t *testing.T) {
	addr := contract(t)
	for name, sent := range map[string]string{"in the first line": "GET / HT", "in a field": "GET / HTTP/1.1\r\nHost: sock", "before the empty line": strings.TrimSuffix(get("/"), "\r\n")} {
		t.Run(name, func(t *testing.T) {
			c := converse(t, addr, sent)
			require.NoError(t, c.CloseWrite())

			s := transcript{sent: sent + "FIN", rule: "house rule, RFC 9112 §8: a request whose head is incomplete is not served, and its connection closed", look: "takerequest.go, scanHead"}.readAll(c)

			if strings.HasPrefix(s.got, "HTTP/1.1 2") {
				s.fail(t, len("HTTP/1.1 "), "half a head is served as if it were whole")
			}
			s.wantCleanEnd(t)
		})
	}
}

// Each of these is longer than any server has to bear, and the test is about the end,
// not the status: a server that is tired may close.
func TestWhatDoesNotEndIsRefused(t *testing.T) {
	addr := contract(t)
	mebibyte := strings.Repeat("a", 1<<20)
	for name, c := range map[string]struct{ sent, rule string }{
		"empty lines":        {strings.Repeat("\r\n", 16<<10), "house rule, RFC 9112 §2.2: an empty line before a request is skipped, not any number"},
		"a chunk":            {chunkedPost("1000000\r\n" + strings.Repeat(mebibyte, 16) + "\r\n0\r\n\r\n"), "house rule, RFC 9110 §15.5.14: chunks are no way around the limit of a body"},
		"chunks":             {chunkedPost(strings.Repeat("100000\r\n"+mebibyte+"\r\n", 16) + "0\r\n\r\n"), "house rule, RFC 9110 §15.5.14: chunks are no way around the limit of a body"},
		"an extension":       {chunkedPost("5;a=" + mebibyte + "\r\nhello\r\n0\r\n\r\n"), "house rule, RFC 9112 §7.1.1: the length of chunk extensions is limited"},
		"an extension each":  {chunkedPost(strings.Repeat("1;a="+mebibyte[:200]+"\r\nx\r\n", 5000) + "0\r\n\r\n"), "house rule, RFC 9112 §7.1.1: the length of all chunk extensions together is limited"},
		"a trailer":          {chunkedPost("0\r\nA: " + mebibyte + "\r\n\r\n"), "house rule, RFC 9112 §7.1.2: trailers have a limit, as fields do"},
		"ten thousand of it": {chunkedPost("0\r\n" + strings.Repeat("A: b\r\n", 10_000) + "\r\n"), "house rule, RFC 9112 §7.1.2: trailers have a limit, as fields do"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sendAndRead(t, addr, c.rule, "limits.go, Limits", c.sent+get("/", closeField))

			if errors.Is(s.end, os.ErrDeadlineExceeded) || strings.HasPrefix(s.got, "HTTP/1.1 2") {
				s.fail(t, len("HTTP/1.1 "), "what does not end is neither refused nor its connection closed (%s)", s.describeEnd())
			}
		})
	}
}

func TestClientThatLeavesChangesNothing(t *testing.T) {
	addr := contract(t)
	for name, c := range map[string]struct {
		sent string
		read int64
	}{
		"in a head":   {sent: "GET / HT"},
		"in a body":   {sent: "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhello"},
		"in requests": {sent: strings.Repeat(get("/"), 100)},
		"in a stream": {sent: get("/stream/100000"), read: 100},
	} {
		t.Run(name, func(t *testing.T) {
			leaving := converse(t, addr, c.sent)
			io.CopyN(io.Discard, leaving, c.read)
			leaving.SetLinger(0)
			leaving.Close() // RST

			for range 20 {
				s := sendAndRead(t, addr, "house rule: a client that leaves changes nothing for others; a write after its RST is EPIPE or SIGPIPE, write(2)", "transport.go, flush", get("/", closeField))

				s.wantPrefix(t, "HTTP/1.1 200 ")
				s.wantCleanEnd(t)
			}
		})
	}
}

// The socket takes only a part of a response that is larger than all buffers between
// the server and a client that does not read yet.
func TestResponseLargerThanTheSocketsBuffers(t *testing.T) {
	conn, err := dialWithBuffer(contract(t), 4<<10)
	require.NoError(t, err)
	defer conn.Close()
	body := bytes.Repeat([]byte("0123456789abcde\n"), 6<<20/16)
	conn.SetDeadline(time.Now().Add(3 * patience()))
	_, err = io.WriteString(conn, post("/echo", string(body), closeField))
	require.NoError(t, err)

	s := transcript{sent: "POST /echo with 6 MiB", rule: "MUST, RFC 9110 §8.6: the body is as long as Content-Length says; a write may take a part of it, write(2)", look: "writequeue.go, writeQueue"}.readAll(conn)

	s.wantPrefix(t, "HTTP/1.1 200 ")
	if r := s.parseAll(t, "POST")[0]; r.body != string(body) {
		s.fail(t, len(s.got), "the body of the response is not the body of the request: it has %d bytes, want %d", len(r.body), len(body))
	}
}

// dialWithBuffer connects to addr; size is how many bytes the kernel keeps for a client
// that does not read.
func dialWithBuffer(addr string, size int) (net.Conn, error) {
	d := net.Dialer{Timeout: patience(), Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size) }), err)
	}}
	return d.Dial("tcp", addr)
}

// The first of a million lines is here long before a program can have written all. A busy
// machine may be late once, but not every time.
func TestStreamBeginsBeforeItEnds(t *testing.T) {
	const soon = 10 * time.Millisecond
	addr, sent := contract(t), get("/stream/1000000")
	s := transcript{sent: sent, rule: "house rule: /stream sends each line when it is written, not all of them at the end", look: "routes.go, stream; response.go, Flush"}
	for begin, best := time.Now(), time.Hour; best > soon; {
		asked := time.Now()
		c := converse(t, addr, sent)
		s.got = ""
		for got := make([]byte, 4<<10); !strings.Contains(s.got, "line 1\n"); {
			n, err := c.Read(got)
			if s.got += string(got[:n]); err != nil {
				s.end = err
				s.fail(t, len(s.got), "the first line does not come (%s)", s.describeEnd())
			}
		}
		best = min(best, time.Since(asked))
		c.SetLinger(0) // the client has enough
		c.Close()
		if time.Since(begin) > patience() && best > soon {
			s.fail(t, len(s.got), "in all of %v the first line has never come within %v: it took %v at least, which is enough to write all the others", patience(), soon, best)
		}
	}
}

// The first response is complete; the second has yet to be.
func TestFinishedResponseLeavesBeforeALaterOneEnds(t *testing.T) {
	const later = time.Second
	begin, sent := time.Now(), get("/sleep/50ms")+get("/sleep/1s")
	c := converse(t, contract(t), sent)
	s := transcript{sent: sent, rule: "house rule: what is finished at the head of the queue leaves, whatever is behind it", look: "takerequest.go, endTurn"}

	requireRead(t, c, s, "HTTP/1.1 200 ")

	if took := time.Since(begin); took > later {
		s.fail(t, 0, "the first response came after %v, with the second, which takes %v", took, later)
	}
}
