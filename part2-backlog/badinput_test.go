package main

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// tlsHello is how a TLS client begins: a browser that was told https://.
const tlsHello = "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"

// Whatever comes, the server answers or closes, logs one line, and serves the
// next client.
func TestBadInputIsAnsweredOrClosed(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	for name, c := range map[string]struct{ sent, status string }{
		"garbage":                   {"hello?\r\n\r\n", "400"},
		"NUL bytes":                 {"GET /\x00 HTTP/1.1\r\n\r\n", "400"},
		"only NUL bytes":            {strings.Repeat("\x00", 100), "408"},
		"a TLS hello":               {tlsHello, "408"},
		"a megabyte without a line": {strings.Repeat("a", 1<<20), "431"},
		"an empty connection":       {"", ""},
		"no version":                {"GET /\r\n\r\n", "400"},
		"HTTP/2 preface":            {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"},
		"two spaces":                {"GET  / HTTP/1.1\r\n\r\n", "400"},
		"a backslash":               {"GET /a\\b HTTP/1.1\r\n\r\n", "400"},
		"a fragment":                {"GET /#a HTTP/1.1\r\n\r\n", "400"},
		"a field before the line":   {"Host: x\r\nGET / HTTP/1.1\r\n\r\n", "400"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var clients []*net.TCPConn
			r := startServer(t, func(s *server) {
				switch {
				case len(c.sent) > 16<<10: // too much to wait in the kernel
				case c.status == "408" || c.status == "":
					s.headTimeout = pollInterval
					fallthrough
				default:
					clients = connectEarly(t, s, c.sent, get)
				}
			})
			const rule = "RFC 9112 §2.2: what is no request gets 400 and the connection is closed"
			var s, next transcript

			if clients == nil {
				s = sendAndRead(t, r.addr, rule, "server.go, readHead", c.sent)
				next = sendAndRead(t, r.addr, "", "", get)
			} else {
				s = transcript{sent: c.sent, rule: rule, look: "server.go, statusFor"}.readAll(clients[0])
				next = transcript{sent: get, rule: "house rule: the next client is served", look: "server.go, serve"}.readAll(clients[1])
			}

			if c.status == "" {
				assert.Empty(t, s.got)
			} else {
				s.wantPrefix(t, "HTTP/1.1 "+c.status+" ")
				s.wantFramed(t)
			}
			s.wantCleanEnd(t)
			next.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
			r.stop()
			receive(t, r.done, "the server stops")
			assert.Equal(t, 2, r.logs.count(), "one line for each connection")
		})
	}
}

// An ended request is not a request: it gets 400, not silence.
func TestTruncatedHeadIsRefused(t *testing.T) {
	t.Parallel()
	c := dial(t, startServer(t).addr)
	io.WriteString(c, "GET / HTTP/1.1\r\nHos")
	require.NoError(t, c.CloseWrite())

	s := transcript{rule: "RFC 9112 §8: an incomplete request gets an error", look: "server.go, statusFor"}.readAll(c)

	s.wantPrefix(t, "HTTP/1.1 400 Bad Request\r\n")
}

func TestNoDescriptorIsLeaked(t *testing.T) {
	r := startServer(t, func(s *server) { s.headTimeout = pollInterval })
	sendAndRead(t, r.addr, "", "", get) // the first connection of a process opens the poller's descriptors
	eventually(t, "it is logged", func() bool { return r.logs.count() == 1 })
	before := descriptors()
	for i := range 100 {
		c, err := net.DialTimeout("tcp", r.addr, patience())
		require.NoError(t, err)
		io.WriteString(c, []string{get, "", "garbage\r\n\r\n", "GET"}[i%4])
		if i%5 == 0 {
			c.(*net.TCPConn).SetLinger(0) // close with a reset
		}
		c.Close()
	}
	eventually(t, "the server has seen all 100", func() bool { return r.logs.count() == 101 })

	eventually(t, "as many descriptors are open as before the 100 connections: each conn is closed once, by answer", func() bool {
		return descriptors() <= before
	})
}

// descriptors counts the open file descriptors of this process.
func descriptors() (open int) {
	for fd := range 1024 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			open++
		}
	}
	return open
}

// FuzzConnection sends any bytes at all over a connection, in two pieces. The
// server must not panic, must end, and must answer in well-formed HTTP or not
// at all.
func FuzzConnection(f *testing.F) {
	skipIfJudging(f)
	for _, seed := range []string{get, "", "\r\n\r\n", "\r\n" + get, tlsHello, "HEAD / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\nmore"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, sent []byte, cut int) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		require.NoError(t, err)
		defer unix.Close(pair[0])
		cut = max(0, min(cut, len(sent)))
		finished, ended := make(chan string, 1), make(chan struct{})
		go func() { // ends when the connection does
			unix.Write(pair[0], sent[:cut])
			unix.Write(pair[0], sent[cut:])
			unix.Shutdown(pair[0], unix.SHUT_WR)
			var got []byte
			buf := make([]byte, 4<<10)
			for n, _ := unix.Read(pair[0], buf); n > 0; n, _ = unix.Read(pair[0], buf) {
				got = append(got, buf[:n]...)
			}
			finished <- string(got)
		}()
		own := newServer(-1, slog.New(slog.DiscardHandler))
		go func() { own.answer(conn{pair[1], nil, time.Now()}); close(ended) }() // waited for here
		receive(t, ended, "the server is done with the connection")
		if got := receive(t, finished, "the connection ends"); got != "" {
			x := transcript{sent: string(sent), got: got, rule: "MUST, RFC 9112 §2.1: an answer is well-formed", look: "server.go, response"}
			if strings.HasPrefix(firstLine(sent), "HEAD ") {
				x.parse(t)
			} else {
				x.wantFramed(t)
			}
		}
	})
}
