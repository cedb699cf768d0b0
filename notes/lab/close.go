package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/socket"
)

// The experiment of chapter 1: a server responds and closes while a part of the request
// is unread. Its kernel then sends RST instead of FIN, and drops what it has not sent.

const requestBytes = 1024 // of each request

var closing = experiment{
	Name:  "close",
	Title: "Close",
	About: "Each client sends a request of 1,024 bytes and reads until the connection ends. The server leaves some of " +
		"the request unread, writes its response and closes. A close with unread bytes sends RST, and what has not been sent is lost.",
	Settings: []setting{
		{Name: "unread", Label: "bytes left unread", Low: 0, High: 1000, Step: 10, Default: 100},
		{Name: "size", Label: "size of the response", High: 5, Default: 4, Choices: []string{"1KiB", "16KiB", "64KiB", "256KiB", "1MiB", "4MiB"}},
		{Name: "how", Label: "the server closes", High: 1, Default: 0, Choices: []string{"at-once", "after-draining"}},
		{Name: "clients", Label: "clients, one after another", Low: 1, High: 200, Step: 1, Default: 50},
	},
	Predict: setting{Name: "said", Label: "How many clients get the whole response?", High: 200, Step: 1, Default: 25, One: "response was whole", Many: "responses were whole"},
	Parts:   func(values) []string { return []string{"go run ./part1-hello demo"} },
	play:    playClose,
}

var sizes = []int{1 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20} // bytes; the choices of size

func playClose(ctx context.Context, r *Run, v values) (outcome, error) {
	fd, err := socket.Listen("127.0.0.1:0", 16)
	if err != nil {
		return outcome{}, err
	}
	s := closer{fd: fd, read: requestBytes - v["unread"], drain: v["how"] == 1, response: make([]byte, sizes[v["size"]])}
	copy(s.response, fmt.Sprintf("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", len(s.response)))
	done := make(chan struct{})
	go func() { s.serve(); close(done) }() // playClose waits for done
	defer func() { s.stop.Store(true); <-done }()

	var n Counts
	var cut, cutBytes int
	for i := 1; i <= v["clients"]; i++ {
		got, err := readAnswer(ctx, socket.LocalAddr(fd).String())
		if ctx.Err() != nil {
			return outcome{}, context.Cause(ctx)
		}
		reset := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
		if err != nil && !reset {
			return outcome{}, err
		}
		state, what := "whole", "reads the whole response, then the end"
		if reset {
			n.Resets++
			what = "reads the whole response, then an error: connection reset by peer"
		}
		if got == len(s.response) {
			n.Whole++
		} else {
			cut, cutBytes = cut+1, cutBytes+got
			state, what = "cut", fmt.Sprintf("reads %d of %d bytes, then an error: connection reset by peer", got, len(s.response))
		}
		counts := n
		r.emit(Event{Who: fmt.Sprintf("client %d", i), What: what, Lane: i, State: state, Count: &counts})
	}
	text := fmt.Sprintf("%d of %d connections were reset", n.Resets, v["clients"])
	if cut > 0 {
		text += fmt.Sprintf("; the cut responses ended after %d of %d KiB on average", cutBytes/cut>>10, len(s.response)>>10)
	}
	return outcome{n.Whole, text + "."}, nil
}

// readAnswer sends a request and counts the bytes that arrive before the connection ends.
func readAnswer(ctx context.Context, addr string) (int, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(socket.LongAgo) })()
	if _, err := c.Write(make([]byte, requestBytes)); err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, c)
	return int(n), err
}

// A closer is a server that closes with the end of each request unread.
type closer struct {
	fd       int // listens; closed by serve
	read     int // bytes of each request
	drain    bool
	response []byte
	stop     atomic.Bool
}

// serve serves one connection after another until stop.
func (s *closer) serve() {
	defer unix.Close(s.fd)
	for !s.stop.Load() {
		if c, _, err := socket.Accept(s.fd); err == nil {
			s.respond(c)
			unix.Close(c)
		}
	}
}

// respond reads, writes, and with drain reads until the client has closed.
func (s *closer) respond(c int) {
	b := make([]byte, requestBytes)
	for n := 0; n < s.read; {
		got, err := s.retry(unix.Read, c, b[n:s.read])
		if err != nil || got == 0 {
			return
		}
		n += got
	}
	for rest := s.response; len(rest) > 0; {
		n, err := s.retry(unix.Write, c, rest)
		if err != nil {
			return
		}
		rest = rest[n:]
	}
	if s.drain {
		unix.Shutdown(c, unix.SHUT_WR)
		for n, err := s.retry(unix.Read, c, b); err == nil && n > 0; {
			n, err = s.retry(unix.Read, c, b)
		}
	}
}

// retry repeats a call that a signal interrupted or that waited for as long as a socket
// of package socket may (socket.PollInterval), until stop.
func (s *closer) retry(call func(int, []byte) (int, error), c int, b []byte) (n int, err error) {
	for n, err = call(c, b); (err == unix.EAGAIN || err == unix.EINTR) && !s.stop.Load(); {
		n, err = call(c, b)
	}
	return n, err
}
