package main

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"socketup/part3-pipelining/server"
	"socketup/part3-pipelining/socket"
)

// A handler may still be running when its client has reset the connection and
// the descriptor has been reused for the next client. The log must not name
// that one.
func TestLogNamesTheRightClientWhenADescriptorIsReused(t *testing.T) {
	t.Parallel()
	began, release := make(chan bool), make(chan bool)
	r := startServer(t, withHandler(func(w *server.Response, r *server.Request) {
		if string(r.Path) == "/hold" {
			began <- true
			<-release
			panic("held")
		}
		w.WriteString("ok")
	}))
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}, Timeout: maxWait}
	c, err := from.Dial("tcp", r.addr)
	if err != nil {
		t.Skip("this system has only one loopback address: ", err)
	}
	fmt.Fprint(c, get("/hold"))
	receive(t, began, "the handler begins")
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	eventually(t, "the connection is closed", func() bool { return r.Connections() == 0 })
	for range 4 { // one of them has the same descriptor
		requireRead(t, converse(t, r.addr, get("/")), transcript{}, "HTTP/1.1 200 OK\r\n")
	}

	close(release)

	eventually(t, "the panic is logged", func() bool { return strings.Contains(r.logs.String(), "handler panicked") })
	assert.Contains(t, r.logs.String(), "client=127.0.0.9 ",
		"house rule: the address is recorded at accept(2); by now the descriptor may be another client's (server.go, addConn)")
}

// startOnIPv6 is startServer on all addresses of both families. addr is for
// IPv4 clients.
func startOnIPv6(t testing.TB, change ...func(*server.Server)) (r *testServer, addr string) {
	t.Helper()
	c, err := net.Listen("tcp6", "[::]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	c.Close()
	r = startServerAt(t, "[::]:0", server.DefaultLimits, change...)
	return r, fmt.Sprintf("127.0.0.1:%d", socket.LocalAddr(r.fd).Port())
}

const ruleMappedIPv4 = "house rule: an IPv4 client of a listener on [::] is logged as 127.0.0.1, not as ::ffff:127.0.0.1 (socket.go, AddrPort)"

func TestIPv4ClientOfAnIPv6ListenerHasAnIPv4Address(t *testing.T) {
	r, addr := startOnIPv6(t, withHandler(func(*server.Response, *server.Request) { panic("any") }))

	sendAndRead(t, addr, "", "", get("/", closeField)).wantPrefix(t, "HTTP/1.1 500 ")

	assert.Contains(t, r.logs.String(), "client=127.0.0.1 ", ruleMappedIPv4)
}
