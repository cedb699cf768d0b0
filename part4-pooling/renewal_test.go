package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/server"
)

const emptyRule = "house rule: an empty line before a request is ignored (RFC 9112 §2.2), and a second; a client that sends no more than that does not live on it"

func TestTwoEmptyLinesBeforeARequestAreIgnoredAndAThirdIsRefused(t *testing.T) {
	t.Parallel()
	r := start(t)

	for _, pieces := range [][]string{{"\r\n\r\n" + get("/", closing)}, {"\r\n", "\r", "\n", get("/", closing)}} {
		tell(t, r.addr, emptyRule, "intake.go, head", pieces...).begins(t, "HTTP/1.1 200 OK\r\n")
	}
	for _, pieces := range [][]string{{"\r\n\r\n\r\n" + get("/", closing)}, {"\r\n", "\r\n", "\r\n"}} {
		s := tell(t, r.addr, emptyRule, "intake.go, head", pieces...)
		s.begins(t, "HTTP/1.1 400 Bad Request\r\n")
		s.endsCleanly(t)
	}
	behindBodies := tell(t, r.addr, "house rule: the empty lines of one request are not counted for the next", "intake.go, receive",
		strings.Repeat(post("/echo", "hello")+"\r\n", 10)+get("/", closing))
	for _, a := range behindBodies.replies(t, append(strings.Split(strings.Repeat("POST ", 9)+"POST", " "), "GET")...) {
		behindBodies.same(t, "a status", "200 OK", a.status)
	}
}

// The lines between chunks are no body. A client that sends a byte with twenty
// bytes around it has not sent twenty-one.
func TestChunkLinesDoNotRenewTheTimeOfABody(t *testing.T) {
	t.Parallel()
	const extension = ";0123456789abc" // with its line end and a size of one digit 17 bytes: more is no longer free (framing.go, takeSize)
	r := start(t, func(s *server.Server) { s.Limits.BodyTime, s.Limits.Body = 400*time.Millisecond, 1<<30 })
	c := converse(t, r.addr, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
	batch := strings.Repeat("1"+extension+"\r\na\r\n", 850) // 16 KiB on the wire, 850 bytes of body
	refused := make(chan bool)
	go func() { // ends when the server has answered, or the test is over
		pace := time.NewTicker(50 * time.Millisecond)
		defer pace.Stop()
		for {
			if _, err := io.WriteString(c, batch); err != nil {
				return
			}
			select {
			case <-pace.C:
			case <-refused:
				return
			}
		}
	}()

	got := make([]byte, 64)
	n, err := io.ReadFull(c, got)

	close(refused)
	require.NoError(t, err, "the server waits for more, as long as chunk lines come. House rule: 16 KiB of content renew the body's time, not what is around it (body.go, Read)")
	story{got: string(got[:n]), rule: "house rule: 16 KiB of content renew the body's time", look: "body.go, Read"}.begins(t, "HTTP/1.1 408 Request Timeout\r\n")
}
