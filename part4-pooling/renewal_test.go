package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/server"
)

const ruleEmptyLines = "house rule: an empty line before a request is ignored (RFC 9112 §2.2), and a second; a client that sends no more than that does not live on it"

func TestTwoEmptyLinesBeforeARequestAreIgnoredAndAThirdIsRefused(t *testing.T) {
	t.Parallel()
	r := startServer(t)

	for _, pieces := range [][]string{{"\r\n\r\n" + get("/", closeField)}, {"\r\n", "\r", "\n", get("/", closeField)}} {
		sendAndRead(t, r.addr, ruleEmptyLines, "takerequest.go, scanHead", pieces...).wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	}
	for _, pieces := range [][]string{{"\r\n\r\n\r\n" + get("/", closeField)}, {"\r\n", "\r\n", "\r\n"}} {
		s := sendAndRead(t, r.addr, ruleEmptyLines, "takerequest.go, scanHead", pieces...)
		s.wantPrefix(t, "HTTP/1.1 400 Bad Request\r\n")
		s.wantCleanEnd(t)
	}
	behindBodies := sendAndRead(t, r.addr, "house rule: the empty lines of one request are not counted for the next", "takerequest.go, newRequest",
		strings.Repeat(post("/echo", "hello")+"\r\n", 10)+get("/", closeField))
	for _, a := range behindBodies.parseAll(t, append(strings.Split(strings.Repeat("POST ", 9)+"POST", " "), "GET")...) {
		behindBodies.wantSame(t, "a status", "200 OK", a.status)
	}
}

// The lines between chunks are no body. A client that sends a byte with twenty
// bytes around it has not sent twenty-one.
func TestChunkLinesDoNotRenewTheBodyTimeout(t *testing.T) {
	t.Parallel()
	const extension = ";0123456789abc" // with its line end and a size of one digit 17 bytes: more is no longer free (framing.go, nextChunkSize)
	r := startServer(t, func(s *server.Server) { s.Limits.BodyTime, s.Limits.Body = 400*time.Millisecond, 1<<30 })
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
	transcript{got: string(got[:n]), rule: "house rule: 16 KiB of content renew the body's time", look: "body.go, Read"}.wantPrefix(t, "HTTP/1.1 408 Request Timeout\r\n")
}
