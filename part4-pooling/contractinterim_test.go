package main

import (
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Contract: what comes before a response and after it.

const contractHints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"

func TestEarlyHintsArriveBeforeTheResponse(t *testing.T) {
	t.Parallel()
	release := make(chan bool)
	addr := contractGateway(t, func(c *net.TCPConn, _ int) {
		c.Read(make([]byte, 4<<10))
		io.WriteString(c, contractHints)
		select {
		case <-release:
			io.WriteString(c, lastOK("ok"))
		case <-t.Context().Done():
		}
	})
	front := converse(t, addr, get("/", closeField))
	s := transcript{sent: get("/", closeField), rule: ruleInterim, look: "trailers.go, forwardInterim"}

	requireRead(t, front, s, "HTTP/1.1 103 ")
	s.got = "HTTP/1.1 103 " + readUntil(t, front, "\r\n\r\n")
	s.wantField(t, "Link", "</style.css>")
	close(release)

	s.readAll(front).wantAnswer(t, "200", "ok")
}

func TestHTTP10ClientGetsNoEarlyHints(t *testing.T) {
	t.Parallel()
	back, _ := recording(contractHints + lastOK("ok"))

	old := sendAndRead(t, contractGateway(t, back), ruleInterim, "trailers.go, forwardInterim", "GET / HTTP/1.0\r\nHost: x\r\n\r\n").ofHTTP10()

	old.wantAnswer(t, "200", "ok")
}

// The responses of one connection are sent in order, and so are their interim ones.
func TestEarlyHintsKeepTheOrderOfTheRequests(t *testing.T) {
	t.Parallel()
	asked, release := make(chan bool, 1), make(chan bool)
	addr := contractGateway(t, answering(nil, func(q backendRequest) string {
		if q.URL.Path == "/2" {
			asked <- true
			return contractHints + lastOK("2")
		}
		select { // a gateway that handles one request after the other asks for the second later
		case <-release:
		case <-time.After(200 * time.Millisecond):
		}
		return lastOK("1")
	}))
	sent := get("/1") + get("/2", closeField)
	front := converse(t, addr, sent)
	select {
	case <-asked:
		time.AfterFunc(50*time.Millisecond, func() { close(release) }) // time for a fault to show
	case <-time.After(patience()):
	}

	got := transcript{sent: sent, rule: "MUST, RFC 9112 §9.3.2: responses in the order of the requests, 1xx included", look: "proxy.go, WriteInterim"}.readAll(front)

	got.wantPrefix(t, "HTTP/1.1 200 ")
	all := got.parseAll(t, "GET", "GET", "GET")
	got.wantSame(t, "the first body", "1", all[0].body)
	got.wantSame(t, "the last body", "2", all[2].body)
}

const trailing = "HTTP/1.1 200 OK\r\nConnection: close\r\nTrailer: ETag\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nETag: \"42\"\r\n\r\n"

var endsInETag = regexp.MustCompile(`(?i)\r\n0+(;[^\r\n]*)?\r\netag:[ \t]*"42"[ \t]*\r\n\r\n$`)

func TestTrailersReachAClientThatAsksForThem(t *testing.T) {
	t.Parallel()
	back, _ := recording(trailing)
	addr := contractGateway(t, back)

	s := sendAndRead(t, addr, "house rule, RFC 9110 §6.5.1: trailers pass to a client that sent TE: trailers", "proxy.go, WriteTrailers", get("/", "TE: trailers\r\nConnection: close, TE\r\n"))

	s.wantPrefix(t, "HTTP/1.1 200 ")
	if !endsInETag.MatchString(s.got) {
		s.fail(t, max(0, len(s.got)-2), "the response does not end in its trailer")
	}
	other := sendAndRead(t, addr, s.rule, s.look, get("/", closeField))

	other.wantAnswer(t, "200", "hello")
	if at := strings.LastIndex(other.got, "ETag: "); at >= 0 {
		other.fail(t, at, "it did not ask")
	}
}

// Programs take a trailer for a field of the head.
func TestTrailerDoesNotBecomeAField(t *testing.T) {
	t.Parallel()
	const rule = "house rule, RFC 9110 §6.5.1: a trailer that would frame, route or authenticate ends at the gateway"
	for name, fields := range map[string]string{"a response": closeField, "a response that may have trailers": "TE: trailers\r\nConnection: close, TE\r\n"} {
		t.Run(name, func(t *testing.T) {
			back, _ := recording(strings.Replace(trailing, "ETag: \"42\"", "Set-Cookie: evil\r\nContent-Length: 9", 1))

			s := sendAndRead(t, contractGateway(t, back), rule, "trailers.go, isAllowedTrailer", get("/", fields))

			s.wantPrefix(t, "HTTP/1.1 200 ")
			for _, bad := range []string{"evil", "Content-Length: 9"} {
				if at := strings.Index(s.got, bad); at >= 0 {
					s.fail(t, at, "it was passed on")
				}
			}
		})
	}
	t.Run("a request", func(t *testing.T) {
		back, seen := recording(lastOK("ok"))

		front := sendAndRead(t, contractGateway(t, back), rule, "upload.go, appendTrailers", "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Real-IP: 192.0.2.66\r\nHost: evil\r\n\r\n")

		front.wantAnswer(t, "200", "ok")
		q, s := received(t, seen, front)
		s.wantSame(t, "the body", "hello", q.body)
		for _, bad := range []string{"192.0.2.66", "evil"} {
			if at := strings.Index(s.got, bad); at >= 0 {
				s.fail(t, at, "it was passed on")
			}
		}
	})
}
