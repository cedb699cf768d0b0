package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/server"
)

// A backend that reads an upload slowly, but all the time, gets all of it: -backend-body-time
// is for one that does not read. It reads ten times as fast as it must.
func TestSlowBackendGetsAllOfAnUpload(t *testing.T) {
	t.Parallel()
	const size, bodyTime = 16 << 20, time.Second
	back := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		c.SetReadBuffer(64 << 10)
		head := make([]byte, 4<<10)
		if n, err := c.Read(head); err != nil || !bytes.Contains(head[:n], []byte("\r\n\r\n")) {
			return
		}
		got := int64(0)
		for end := time.Now().Add(3 * bodyTime); time.Now().Before(end); time.Sleep(50 * time.Millisecond) { // the backend's pace
			n, _ := io.CopyN(io.Discard, c, 32<<10)
			got += n
		}
		for got < size-4<<10 { // some of the body may have come with the head
			n, err := io.CopyN(io.Discard, c, min(size-4<<10-got, 32<<10))
			if got += n; err != nil {
				return
			}
		}
		io.WriteString(c, testutil.Response200("got it"))
	})
	g := gateway.New(newSmallPool(t, 1), []gateway.Backend{{Path: "/", Addr: back.Addr}})
	g.Timeouts.Idle = bodyTime
	r := startServer(t, withHandler(g.Handler(routes())), func(s *server.Server) { s.Limits.Body = size })
	request := fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", size)
	c := converse(t, r.addr, request)
	c.SetDeadline(time.Now().Add(2 * patience()))

	go io.Copy(c, bytes.NewReader(make([]byte, size))) // until the gateway has read it or closes
	s := transcript{sent: request, rule: "house rule: a peer that reads is not cut off", look: "socket/notsent.go"}.readAll(c)

	s.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	assert.Contains(t, s.got, "got it")
}
