package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/server"
)

const ruleEmptyLines = "house rule: one or two empty lines before a request are ignored (RFC 9112 §2.2), and do not renew the idle time"

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
	behindBodies := sendAndRead(t, r.addr, "house rule: the empty lines before one request do not count for the next", "takerequest.go, newRequest",
		strings.Repeat(post("/echo", "hello")+"\r\n", 10)+get("/", closeField))
	for _, a := range behindBodies.parseAll(t, append(strings.Split(strings.Repeat("POST ", 9)+"POST", " "), "GET")...) {
		behindBodies.wantSame(t, "a status", "200 OK", a.status)
	}
}

// Chunk size lines are not content: of a chunk of one byte with a line of
// twenty, only one byte renews the deadline.
func TestChunkLinesDoNotRenewTheBodyTimeout(t *testing.T) {
	t.Parallel()
	const extension = ";0123456789abc" // a size line of 17 bytes with its digit and CRLF: longer ones count as overhead (framing.go, nextChunkSize)
	r := startServer(t, func(s *server.Server) { s.Limits.BodyTime, s.Limits.Body = time.Second, 1<<30 })
	c := converse(t, r.addr, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
	batch := strings.Repeat("1"+extension+"\r\na\r\n", 850) // 16 KiB on the wire, 850 bytes of body
	refused := make(chan bool)
	go func() { // ends when the server has responded, or with the test
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
	require.NoError(t, err, "the server waits as long as chunk lines arrive. House rule: 16 KiB of content renew the body's deadline, chunk lines do not (body.go, Read)")
	transcript{got: string(got[:n]), rule: "house rule: 16 KiB of content renew the body's deadline", look: "body.go, Read"}.wantPrefix(t, "HTTP/1.1 408 Request Timeout\r\n")
}
