package main

import (
	"io"
	"net/http"
	"testing"
)

func TestCrowdLeavesDescriptorsForBackends(t *testing.T) {
	t.Parallel()
	s := answering(t, func(int, *http.Request) string { return saying("ok") })
	addr, _ := scarce(t, "-backend", "/there=http://"+s.addr)
	c := converse(t, addr, "GET /there HTTP/1.1\r\nHost: x\r\n") // the rest comes later: it is not idle

	fillUp(t, addr)

	io.WriteString(c, closing+"\r\n")
	story{rule: descriptorRule, look: "descriptors.go"}.hear(c).begins(t, "HTTP/1.1 200 OK\r\n")
}
