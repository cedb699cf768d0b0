package main

import (
	"io"
	"net/http"
	"testing"

	"socketup/part4-pooling/internal/testutil"
)

func TestCrowdLeavesDescriptorsForBackends(t *testing.T) {
	t.Parallel()
	s := testutil.Answering(t, func(int, *http.Request) string { return testutil.Saying("ok") })
	addr, _ := scarce(t, "-backend", "/there=http://"+s.Addr)
	c := converse(t, addr, "GET /there HTTP/1.1\r\nHost: x\r\n") // the rest comes later: it is not idle

	fillUp(t, addr)

	io.WriteString(c, closing+"\r\n")
	story{rule: descriptorRule, look: "descriptors.go"}.hear(c).begins(t, "HTTP/1.1 200 OK\r\n")
}
