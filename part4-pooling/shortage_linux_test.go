package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestGatewayOutOfDescriptorsSaysThatItIsItsOwnFault(t *testing.T) {
	t.Parallel()
	back := answering(t, func(_ int, r *http.Request) string { return saying(r.URL.Path) })
	for _, flag := range []string{"-backend", "-engine"} {
		outOfDescriptors(t, flag, back.addr)
	}
}

func outOfDescriptors(t *testing.T, flag, backend string) {
	t.Helper()
	cmd, addr, logged := serving(t, flag, "/b=http://"+backend)
	c := dial(t, addr)
	story{sent: get("/")}.on(t, c).begins(t, "HTTP/1.1 200 ") // it was accepted while there were descriptors
	asks := story{sent: get("/b"), rule: "RFC 9110 §15.6.3, §15.6.4: 502 is for the backend's failure, 503 for ours", look: "failures.go, shortage"}

	atMost(t, cmd.Process.Pid, 0)
	without := asks.on(t, c)
	atMost(t, cmd.Process.Pid, 1000)
	with := asks.on(t, c)

	without.begins(t, "HTTP/1.1 503 ")
	assert.Contains(t, without.got, "\r\nRetry-After: 1\r\n")
	logs(t, logged, "too many open files")
	with.begins(t, "HTTP/1.1 200 ")
}
