package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"socketup/part3-pipelining/server"
)

// The server reuses memory from one request to the next, but nothing of the
// request's contents.

func TestErrorResponseDoesNotDependOnAnEarlierRequest(t *testing.T) {
	head := "HEAD / HTTP/1.1\r\nHost: x\r\n"
	for name, c := range map[string]struct{ sent, status string }{
		"not HTTP":     {"\x16\x03\x01", "400 Bad Request"},
		"too slow":     {"GET / HT", "408 Request Timeout"},
		"long target":  {"GET /" + strings.Repeat("x", server.DefaultLimits.Head), "414 URI Too Long"},
		"long head":    {"GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("x", server.DefaultLimits.Head), "431 Request Header Fields Too Large"},
		"a bare LF":    {"GET / HTTP/1.1\nHost: x\n\n", "400 Bad Request"},
		"an end":       {"GET / HTTP/1.1\r\n", "400 Bad Request"},
		"no such line": {"GET /\r\n\r\n", "400 Bad Request"},
	} {
		t.Run(name, func(t *testing.T) {
			r := startServer(t, func(s *server.Server) { s.Limits.HeadTime = 4 * testTimeout })
			story := transcript{rule: "MUST, RFC 9110 §6.4.1: only a response to HEAD has no body", look: "exchange.go, recycle"}

			story.sent = head + "\r\n" + c.sent
			same := converse(t, r.addr, story.sent)
			if name == "an end" {
				same.CloseWrite()
			}
			s := story.readAll(same)
			a := s.parseAll(t, "HEAD", "GET")
			assert.Equal(t, c.status, a[1].status)

			for range 4 { // most likely one of them reuses the HEAD's exchange
				sendAndRead(t, r.addr, "", "", head+closeField+"\r\n")
				story.sent = c.sent
				other := converse(t, r.addr, c.sent)
				if name == "an end" {
					other.CloseWrite()
				}
				s := story.readAll(other)
				s.wantPrefix(t, "HTTP/1.1 "+c.status+"\r\n")
				assert.NotEmpty(t, s.wantFramed(t).body)
			}
		})
	}
}

// The response to HEAD has no body, even when the request is incomplete.
func TestErrorResponseToAPartialHEADHasNoBody(t *testing.T) {
	for sent, status := range map[string]string{
		"HEAD / HTTP/1.1\r\nHo":                                                              "408 Request Timeout",
		"HEAD /" + strings.Repeat("x", server.DefaultLimits.Head):                            "414 URI Too Long",
		"HEAD / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("x", server.DefaultLimits.Head): "431 Request Header Fields Too Large",
		"HEAD / HTTP/1.1\nHost: x\n\n":                                                       "400 Bad Request",
	} {
		r := startServer(t, func(s *server.Server) { s.Limits.HeadTime = 4 * testTimeout })

		s := sendAndRead(t, r.addr, "MUST, RFC 9110 §9.3.2: no content in a response to HEAD", "takerequest.go, newRequest", sent)

		s.wantPrefix(t, "HTTP/1.1 "+status+"\r\n")
		s.parseAll(t, "HEAD")
	}
}

// A response has no field, status or trailer that an earlier one on the
// connection has set.
func TestResponseHasNothingOfAnEarlierOne(t *testing.T) {
	r := startServer(t, withHandler(func(w *server.Response, r *server.Request) {
		switch string(r.Path) {
		case "/all": // sets everything that a handler can set
			w.Status = 404
			w.AddField("X-Left", "behind")
			w.SetLength(4)
			w.Write([]byte("left"))
		case "/chunks":
			w.WriteString("left")
			w.Flush()
			w.WriteString("behind")
		case "/panic":
			w.AddField("X-Left", "behind")
			w.WriteString("left")
			panic("left behind")
		case "/none":
			w.Status = 204
		default:
			body, _ := r.Body.ReadAll()
			w.WriteString("[" + string(body) + "]")
		}
	}))
	plain := "HTTP/1.1 200 OK\r\n"
	for _, before := range []string{
		get("/all"), get("/chunks"), get("/panic"), get("/none"), "HEAD /all HTTP/1.1\r\nHost: x\r\n\r\n",
		post("/", "a body"), chunkedPost("1\r\na\r\n0\r\nTrailing: yes\r\n\r\n"), get("/", "Expect: 100-continue\r\n", "Cookie: left\r\n"),
	} {
		c := converse(t, r.addr, before+get("/", closeField))

		s := transcript{sent: before + get("/", closeField), rule: "house rule: nothing of one request is in the response to another", look: "exchange.go, recycle"}.readAll(c)

		at := strings.LastIndex(s.got, plain)
		if at < 0 {
			s.fail(t, len(s.got), "no second response")
		}
		s.got = s.got[at:]
		last := s.wantFramed(t)
		assert.Equal(t, "[]", last.body)
		assert.Empty(t, last.fields["x-left"])
		assert.Empty(t, last.fields["transfer-encoding"])
	}
}
