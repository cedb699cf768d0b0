package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// The admin address can be inherited too, so that a successor has the same.
func TestInheritedAdminQueueOutlivesTheGateway(t *testing.T) {
	t.Parallel()
	const request = "GET /-/stats HTTP/1.1\r\nHost: 127.0.0.1\r\n" + closeField + "\r\n"
	clients, admin := listenForOthers(t), listenForOthers(t)
	cmd := programCommand(t, "serve", "-addr", "fd:3", "-admin", "fd:4")
	cmd.ExtraFiles = []*os.File{clients.File, admin.File}
	startProgram(t, cmd)
	sendAndRead(t, admin.addr, "house rule: an inherited address is served", "gateway/admin.go", request).wantPrefix(t, "HTTP/1.1 200 OK\r\n")

	requireStops(t, cmd)

	const n = 5 // a stopped server's backlog of 0 would admit one
	for range n {
		converse(t, admin.addr, request)
	}
	eventually(t, "they are queued", func() bool { return admin.queued() == n })
	require.Zero(t, clients.queued())
}
