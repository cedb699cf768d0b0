package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Contract: a body on its way to the backend.

func TestUploadArrivesInEveryFraming(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	for name, c := range map[string]struct{ sent, body string }{
		"a length":      {post("/", "hello", closeField), "hello"},
		"empty":         {post("/", "", closeField), ""},
		"PUT":           {strings.Replace(post("/", "hello", closeField), "POST", "PUT", 1), "hello"},
		"chunked":       {"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello"},
		"1 MiB":         {post("/", long, closeField), long},
		"1 MiB chunked": {"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("10\r\n0123456789abcdef\r\n", 64<<10) + "0\r\n\r\n", long},
	} {
		t.Run(name, func(t *testing.T) {
			back, seen := recording(lastOK("got it"))

			front := sendAndRead(t, contractGateway(t, back), "MUST, RFC 9112 §6.3: a body is as long as its framing says, and all of it reaches the backend", "gateway.go, setBody", c.sent)

			front.wantAnswer(t, "200", "got it")
			q, s := received(t, seen, front)
			s.wantSame(t, "the body", c.body, q.body)
		})
	}
}

// An echo that answers as it reads would wait for a gateway that waits for it.
func TestBodiesFlowBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	addr := contractGateway(t, func(c *net.TCPConn, _ int) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
		b := make([]byte, 1<<10)
		for {
			n, err := r.Body.Read(b)
			if n > 0 {
				fmt.Fprintf(c, "%x\r\n%s\r\n", n, b[:n])
			}
			if err != nil {
				break
			}
		}
		io.WriteString(c, "0\r\n\r\n")
	})
	head := "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
	c := converse(t, addr, head)
	s := transcript{sent: head, rule: "house rule: the pieces of an upload are forwarded as they arrive, and the response meanwhile", look: "upload.go, run"}
	for _, piece := range []string{"first", "again"} {
		s.sent += "5\r\n" + piece + "\r\n"
		io.WriteString(c, "5\r\n"+piece+"\r\n")
		c.SetReadDeadline(time.Now().Add(patience()))
		for b := make([]byte, 1<<10); !strings.Contains(s.got, piece); {
			n, err := c.Read(b)
			if s.got += string(b[:n]); err != nil {
				s.end = err
				s.fail(t, len(s.got), "%q has not come back (%s)", piece, s.describeEnd())
			}
		}
	}

	io.WriteString(c, "0\r\n\r\n")

	before := s.got
	s = s.readAll(c)
	s.got = before + s.got
	s.wantAnswer(t, "200", "firstagain")
}

func TestTruncatedUploadIsNotMadeWhole(t *testing.T) {
	t.Parallel()
	for name, sent := range map[string]string{
		"a length": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nhello",
		"chunked":  "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			whole, ended := make(chan string, 10), make(chan bool, 10)
			addr := contractGateway(t, func(c *net.TCPConn, _ int) {
				if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					if body, err := io.ReadAll(r.Body); err == nil {
						whole <- string(body)
					}
				}
				ended <- true
			})
			c := converse(t, addr, sent)

			c.SetLinger(0) // closes with a reset
			c.Close()

			select { // a gateway that waits for the whole of an upload has sent nothing
			case <-ended:
			case <-time.After(300 * time.Millisecond):
			}
			for len(whole) > 0 {
				t.Fatalf("the client left in the middle of its body, and the backend got a whole one: %s\n  sent: %s\n  rule: house rule, RFC 9112 §8: an incomplete request is not passed on as if it were complete\n  look: upload.go, run", clip(<-whole), clip(sent))
			}
		})
	}
}

// The backend, not the gateway, decides whether it wants the body.
func TestContinueComesFromTheBackend(t *testing.T) {
	t.Parallel()
	for name, framing := range map[string]string{"a length": "Content-Length: 5\r\n", "chunked": "Transfer-Encoding: chunked\r\n"} {
		t.Run(name, func(t *testing.T) {
			conns := make(chan *net.TCPConn, 10)
			addr := contractGateway(t, func(c *net.TCPConn, _ int) {
				conns <- c
				<-t.Context().Done()
			})
			request := "PUT /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n" + framing + "\r\n"
			s := transcript{sent: request, rule: ruleExpectContinue, look: "responsehead.go, handleInterim; gateway.go, setBody"}
			front := converse(t, addr, request)
			var c *net.TCPConn
			select {
			case c = <-conns:
			case <-time.After(patience()):
				front.SetDeadline(time.Now().Add(patience() / 10))
				s = s.readAll(front)
				s.fail(t, 0, "the request has not reached the backend")
			}
			back := transcript{sent: request, got: readHead(t, c), rule: ruleExpectContinue, look: s.look, end: errOpen}
			back.wantField(t, "Expect", "100-continue")

			front.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // can miss a fault, but not report a false one
			b := make([]byte, 100)
			if n, _ := front.Read(b); n > 0 {
				s.got, s.end = string(b[:n]), errOpen
				s.fail(t, 0, "the backend has not asked for the body, and the client got this")
			}
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			front.SetDeadline(time.Now().Add(patience()))
			requireRead(t, front, s, "HTTP/1.1 100 ")
			readUntil(t, front, "\r\n\r\n")
			if name == "chunked" {
				io.WriteString(front, "5\r\nhello\r\n0\r\n\r\n")
			} else {
				io.WriteString(front, "hello")
			}
			c.SetReadDeadline(time.Now().Add(patience()))
			r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(back.got), c)))
			require.NoError(t, err)
			body, _ := io.ReadAll(r.Body)
			back.wantSame(t, "the body", "hello", string(body))
			io.WriteString(c, lastOK("done"))

			s.readAll(front).wantAnswer(t, "200", "done")
		})
	}
}

func TestBodyThatTheBackendRefusesIsNotAskedFor(t *testing.T) {
	t.Parallel()
	addr := contractGateway(t, func(c *net.TCPConn, _ int) {
		for text, one := "", make([]byte, 1); !strings.HasSuffix(text, "\r\n\r\n"); text += string(one) {
			if _, err := io.ReadFull(c, one); err != nil {
				return
			}
		}
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno\n")
	})

	got := sendAndRead(t, addr, ruleExpectContinue, "responsehead.go, handleInterim", "PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n")

	got.wantAnswer(t, "413", "no\n")
}

// A backend may answer while the client's upload has stalled.
func TestEarlyResponseReachesASender(t *testing.T) {
	t.Parallel()
	addr := contractGateway(t, func(c *net.TCPConn, _ int) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno\n")
			<-t.Context().Done() // reads no more
		}
	})

	got := sendAndRead(t, addr, "house rule, RFC 9112 §9.5: a client watches for a response while it sends a body, so a gateway forwards it at once, and closes", "upload.go, stop",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n"+strings.Repeat("x", 1000))

	got.wantAnswer(t, "413", "no\n")
}
