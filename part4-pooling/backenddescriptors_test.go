package main

import (
	"io"
	"net/http"
	"testing"

	"socketup/part4-pooling/internal/testutil"
)

func TestIdleClientsLeaveDescriptorsForBackends(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(int, *http.Request) string { return testutil.Response200("ok") })
	addr, _ := startWithFewDescriptors(t, "-backend", "/there=http://"+s.Addr)
	c := converse(t, addr, "GET /there HTTP/1.1\r\nHost: x\r\n") // an unfinished head: not idle

	openUntilFull(t, addr)

	io.WriteString(c, closeField+"\r\n")
	transcript{rule: ruleDescriptors, look: "descriptors.go"}.readAll(c).wantPrefix(t, "HTTP/1.1 200 OK\r\n")
}
