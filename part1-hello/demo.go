package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// demo runs the experiments of part 1 on this machine's kernel.
func demo(stdout io.Writer, asJSON bool) error {
	people, programs := audiences(stdout, asJSON)
	t, traceErr := traceConnection()
	t.print(programs, true)
	fmt.Fprint(people, "ONE CONNECTION: each call the server makes on a socket, as the kernel reports it\n"+
		"(under ptrace(2), which slows each call down), and what the client sees.\n\n")
	t.print(people, false)
	if traceErr != nil {
		fmt.Fprintln(people, wrap(fmt.Sprintf("    the server's calls are missing: %v", traceErr), "    "))
	}
	fmt.Fprint(people, "\nHOW TO CLOSE: 200 clients send a request, then read until the connection ends.\n\n"+
		"  the server                                      whole answers   resets\n")
	for _, row := range []struct {
		name  string
		serve func(s *server)
		bytes int // in a complete response
	}{
		{"reads the request, answers, lingers (part 1)", (*server).serve, len(response([]byte(demoRequest), "200 OK"))},
		{"reads 16 bytes, answers, closes at once", hasty(1 << 10), 1 << 10},
		{"the same, when the answer is 1 MiB", hasty(1 << 20), 1 << 20},
	} {
		whole, resets, err := countResets(row.serve, row.bytes)
		if err != nil {
			return err
		}
		color := green
		if resets > 0 {
			color = red
		}
		fmt.Fprintf(people, "  %-46s  %8d / %d  %s\n", row.name, whole, closeRuns, paint(people, color, fmt.Sprintf("%7d", resets)))
		printJSON(programs, closeResult{"how to close", row.name, closeRuns, whole, resets})
	}
	fmt.Fprint(people, "\nA close with the request unread sends RST, and the RST destroys what the client\n"+
		"has not been sent yet. notes/01-hello.md explains why, and what lingerClose\n"+
		"does instead.\n")
	if asJSON {
		return traceErr // people have read it
	}
	return nil
}

// A closeResult is what one way to close did to the clients.
type closeResult struct {
	Experiment string `json:"experiment"`
	Case       string `json:"case"`
	Clients    int    `json:"clients"`
	Whole      int    `json:"whole"`
	Resets     int    `json:"resets"`
}

const (
	demoRequest = "GET / HTTP/1.1\r\nHost: socket.up\r\n\r\n"
	closeRuns   = 200
)

// traceConnection runs the server under strace and sends one request to it. With an
// error, the timeline has only what the client did.
func traceConnection() (*timeline, error) {
	t := newTimeline()
	t.experiment = "one connection"
	self, err := os.Executable()
	if err != nil {
		return t, err
	}
	stdout, w, err := os.Pipe()
	if err != nil {
		return t, err
	}
	defer stdout.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { // traceConnection receives from ended before it returns
		defer w.Close()
		ended <- strace(ctx, []string{self, "serve", "-addr", "127.0.0.1:0"}, w, func(at time.Time, call string) {
			to := ""
			if strings.HasPrefix(call, "write(") || strings.HasPrefix(call, "shutdown(") {
				to = "client"
			}
			t.record(at, "server", call, to)
		})
	}()
	ready, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil { // the server did not start, because it cannot be traced
		return t, errors.Join(<-ended, withServer((*server).serve, func(addr string) error { return traceRequest(t, addr) }))
	}
	err = traceRequest(t, strings.TrimPrefix(strings.TrimSpace(ready), "listening on http://"))
	stop()
	return t, errors.Join(err, <-ended)
}

// withServer runs a server until visit returns.
func withServer(serve func(*server), visit func(addr string) error) error {
	fd, err := listen("127.0.0.1:0", backlog)
	if err != nil {
		return err
	}
	s := newServer(fd, slog.New(slog.DiscardHandler))
	addr, done := localAddr(fd).String(), make(chan struct{})
	go func() { serve(s); close(done) }() // the deferred function waits for it
	defer func() { s.stop(); <-done }()
	return visit(addr)
}

// traceRequest sends one request to addr and records on t what the client does and
// receives.
func traceRequest(t *timeline, addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	t.record(time.Now(), "client", "is connected: its kernel and the server's shook hands", "")
	t.record(time.Now(), "client", fmt.Sprintf("sends %q", demoRequest), "server")
	if _, err := io.WriteString(c, demoRequest); err != nil {
		return err
	}
	answer := make([]byte, 4<<10)
	for {
		n, err := c.Read(answer)
		if err != nil {
			t.record(time.Now(), "client", fmt.Sprintf("reads the end (%v) and closes too", err), "server")
			return nil
		}
		for line := range strings.Lines(string(answer[:n])) {
			t.record(time.Now(), "client", fmt.Sprintf("receives %q", line), "")
		}
	}
}

// hasty returns a serve function that responds after the first 16 bytes of a request
// and closes with the rest unread, as the first server of many people does. size is
// the length of its response.
func hasty(size int) func(s *server) {
	answer := response([]byte(demoRequest), "200 OK")
	answer = append(answer, make([]byte, size-len(answer))...)
	return func(s *server) {
		defer unix.Close(s.fd)
		for s.stopDeadline.Load() == nil {
			if c, err := s.accept(); err == nil {
				for _, err = unix.Read(c.fd, s.buf[:16]); isRetryable(err); {
					_, err = unix.Read(c.fd, s.buf[:16])
				}
				unix.Write(c.fd, answer)
				unix.Close(c.fd)
			}
		}
	}
}

// countResets runs closeRuns clients and returns how many read a complete response of
// size bytes, and how many had their connection reset.
func countResets(serve func(*server), size int) (whole, resets int, err error) {
	err = withServer(serve, func(addr string) error {
		for range closeRuns {
			n, err := requestOnce(addr)
			if n == size {
				whole++
			}
			if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
				resets++
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	return whole, resets, err
}

// requestOnce sends a request and counts the bytes that arrive before the connection
// ends or is reset.
func requestOnce(addr string) (int, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := io.WriteString(c, demoRequest); err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, c)
	return int(n), err
}
