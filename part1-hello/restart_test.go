package main

import (
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// The side that closes first keeps the connection for a minute, in TIME_WAIT, and the
// server closes first. Its successor cannot bind the address meanwhile, unless both ask
// for that.
func TestRestartedServerGetsItsAddress(t *testing.T) {
	t.Parallel()
	f := startFresh(t, "")
	s := sendAndRead(t, f.addr, "house rule: a server can be restarted immediately: set SO_REUSEADDR before bind, socket(7)", "socket.go, listen", get)
	s.wantPrefix(t, "HTTP/1.1 200 ")
	for end := time.Now().Add(time.Second); runtime.GOOS == "linux" && !hasTimeWait(t, f.addr) && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // a server that resets its connections has none
	}

	f.end()
	again := launch(t, f.addr, "")

	if !again.awaitListening() {
		s.fail(t, len(s.got), "after this response the server was killed, and started again at the same address (%s), where it does not listen", f.addr)
	}
}

// hasTimeWait returns whether a connection of addr is in TIME_WAIT, as far as the system
// says so.
func hasTimeWait(t testing.TB, addr string) bool {
	for _, s := range sockets(t, netip.MustParseAddrPort(addr).Port()) {
		if s.state == "06" {
			return true
		}
	}
	return false
}
