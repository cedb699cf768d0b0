package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/server"
)

// A client that has found out how to make a handler panic can do so ten thousand
// times a second.
func TestRepeatedPanicIsLoggedOnceASecond(t *testing.T) {
	t.Parallel()
	r := startServer(t, withHandler(func(*server.Response, *server.Request) { panic("always") }))
	began := time.Now()

	sendAndRead(t, r.addr, "", "", strings.Repeat(get("/"), 200)+get("/", closeField)).wantPrefix(t, "HTTP/1.1 500 ")

	most := 1 + int(time.Since(began)/time.Second)
	assert.LessOrEqual(t, strings.Count(r.logs.String(), "handler panicked"), most, "house rule: a repeated message is logged once a second (dedup.go)")
	c := converse(t, r.addr, "")
	go io.Copy(io.Discard, c) // ends with the connection
	eventually(t, "the next line says how many were suppressed", func() bool {
		io.WriteString(c, get("/"))
		return strings.Contains(r.logs.String(), " left_out=")
	})
}
