package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Bodies that a server may get wrong though it echoes all others right.

func TestBodyOfAGETIsSkipped(t *testing.T) {
	smuggled := get("/smuggled")
	s := sendAndRead(t, contract(t), "MUST, RFC 9112 §6 and §9.3: the fields say whether a request has a body, not its method; read it or close", "body.go, discard",
		strings.Replace(post("/", smuggled), "POST", "GET", 1)+get("/", closeField))

	r := s.parseUntilClose(t, "GET", "GET")
	if r[0].status[0] != '4' { // which a server may say to a GET with a body
		s.wantSame(t, "the body", "Hello, World!\n", r[0].body)
	}
	s.wantSameNext(t, "the response to the request after the body", "Hello, World!\n", r[1:])
}

// The client closes its sending half in the middle of a body.
func TestTruncatedBodyIsNotEchoed(t *testing.T) {
	addr := contract(t)
	for name, sent := range map[string]string{
		"less than Content-Length": "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello",
		"half a chunk":             chunkedPost("a\r\nhello"),
		"no last chunk":            chunkedPost("5\r\nhello\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			c := converse(t, addr, sent)
			require.NoError(t, c.CloseWrite())

			s := transcript{sent: sent + "FIN", rule: "house rule, RFC 9112 §8: a request whose body is incomplete is not served", look: "body.go, read"}.readAll(c)

			if s.got != "" && s.parse(t).status[0] == '2' {
				s.fail(t, len("HTTP/1.1 "), "half a body is served as if it were whole")
			}
			s.wantCleanEnd(t)
		})
	}
}
