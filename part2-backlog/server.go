package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxHead     = 8 << 10                         // bytes of request line and fields; RFC 9112 §3 asks for 8,000
	lingerBytes = 64 << 20                        // of a body that nobody wants, read and thrown away
	dateFormat  = "Mon, 02 Jan 2006 15:04:05 GMT" // RFC 9110 §5.6.7
)

var (
	errHeadTooLong = errors.New("request head is longer than 8 KiB")
	errLingerLimit = errors.New("gave up on a client that would not close")
)

// A server answers one connection at a time, in one goroutine. Whoever comes
// meanwhile waits in the kernel's accept queue.
type server struct {
	fd            int           // the listening socket; serve closes it
	headTimeout   time.Duration // from accept to the end of the head; also for all of lingering
	lingerTimeout time.Duration // for a client to say something, or close, after our response
	delay         time.Duration // how long it works on each request
	log           *slog.Logger
	buf           [32 << 10]byte // one connection at a time, one buffer

	stopDeadline atomic.Pointer[time.Time] // set by stop: nobody is waited for any longer than until then
}

func newServer(fd int, log *slog.Logger) *server {
	// With its first timer Go's runtime opens descriptors for its poller. If that
	// were the stop's, and none were left, the whole process would die of it.
	time.AfterFunc(0, func() {})
	return &server{fd: fd, headTimeout: 5 * time.Second, lingerTimeout: time.Second, log: newDedupLogger(log)}
}

// A conn is one accepted connection. answer owns its descriptor and closes it.
type conn struct {
	fd         int
	peer       unix.Sockaddr
	acceptedAt time.Time
}

// stop, from any goroutine, makes serve answer who is queued and return. What a
// client takes from then on gets a tenth of the usual time: others are waiting.
func (s *server) stop() {
	soon := time.Now().Add(s.headTimeout / 10)
	s.stopDeadline.Store(&soon)
}

// serve answers connections until it is told to stop. Then it takes in those
// that are queued before it closes the listening socket, for that close resets
// whoever is still in the queue. A backlog of 0 keeps newcomers out meanwhile,
// all but one; a connection that comes between the last look and the close is
// reset.
func (s *server) serve() {
	for s.stopDeadline.Load() == nil {
		if c, err := s.accept(); err == nil {
			s.answer(c)
		} else if !isRetryable(err) {
			s.log.Warn("accept", "error", err) // no descriptors left: the queue keeps who is in it
			time.Sleep(pollInterval)
		}
	}
	unix.SetNonblock(s.fd, true)
	unix.Listen(s.fd, 0)
	queued := s.drain()
	unix.Close(s.fd)
	for _, c := range queued {
		s.answer(c)
	}
}

// drain takes in who is queued. Where the descriptors run out it answers the
// first of them, which gives one back.
func (s *server) drain() (queued []conn) {
	for {
		c, err := s.accept()
		switch {
		case err == nil:
			queued = append(queued, c)
		case err == unix.EAGAIN:
			return queued
		case len(queued) > 0:
			s.answer(queued[0])
			queued = queued[1:]
		case s.pastDeadline(time.Now()):
			s.log.Error("some who are queued got no answer", "error", err)
			return nil
		default:
			time.Sleep(pollInterval)
		}
	}
}

func (s *server) accept() (conn, error) {
	fd, peer, err := accept(s.fd)
	return conn{fd, peer, time.Now()}, err
}

// answer reads one request head, answers it, closes, and logs one line,
// whatever came.
func (s *server) answer(c conn) {
	head, err := s.readHead(c)
	line, status := firstLine(head), statusFor(head, err)
	if err == nil {
		time.Sleep(s.delay) // it works; the kernel goes on shaking hands
	}
	if status == "" {
		unix.Close(c.fd)
	} else { // a few hundred bytes: an empty send buffer takes them at once
		_, err = unix.Write(c.fd, response(head, status))
		err = errors.Join(err, s.lingerClose(c))
	}
	s.log.Info("connection", "peer", addrPort(c.peer), "request", line, "status", status, "error", err)
}

// readHead reads up to the blank line that ends a request head (RFC 9112
// §2.1). A read takes what has arrived, be it a byte, half a line or the head
// and half a body, so the blank line is looked for in all of it. With an error
// readHead returns what came until then. The head is in s.buf: it is good
// until the next read.
func (s *server) readHead(c conn) ([]byte, error) {
	buf, n := s.buf[:maxHead], 0
	for n < len(buf) {
		got, err := unix.Read(c.fd, buf[n:])
		n += max(got, 0)
		if end := bytes.Index(buf[:n], []byte("\r\n\r\n")); end >= 0 {
			return buf[:end+4], nil
		} else if got == 0 {
			return buf[:n], io.ErrUnexpectedEOF
		} else if err != nil && !isRetryable(err) {
			return buf[:n], err
		} else if s.pastDeadline(c.acceptedAt) {
			return buf[:n], os.ErrDeadlineExceeded
		}
	}
	return buf, errHeadTooLong
}

// requestLine is method, target and version, RFC 9112 §3; §2.2 lets an empty
// line come before it. A target has the bytes that RFC 3986 gives it.
var requestLine = regexp.MustCompile("^(?:\r\n)?[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!$-;=?-\\[\\]_a-z~]+ HTTP/1\\.[0-9]\r\n")

// statusFor says what the outcome of readHead deserves. Nobody waits for a
// response ("") who sent nothing, as a browser's spare connections do, or reset.
func statusFor(head []byte, err error) string {
	switch {
	case err == nil && requestLine.Match(head):
		return "200 OK"
	case err == errHeadTooLong:
		return "431 Request Header Fields Too Large"
	case len(head) > 0 && err == os.ErrDeadlineExceeded:
		return "408 Request Timeout"
	case len(head) > 0 && (err == nil || err == io.ErrUnexpectedEOF):
		return "400 Bad Request"
	}
	return ""
}

// response is the whole response to head.
func response(head []byte, status string) []byte {
	body := "Hello, World!\n"
	if status != "200 OK" {
		body = status + "\n"
	}
	fields := fmt.Sprintf("HTTP/1.1 %s\r\nDate: %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"+
		"Connection: close\r\n\r\n", status, time.Now().UTC().Format(dateFormat), len(body))
	if strings.HasPrefix(firstLine(head), "HEAD ") { // RFC 9110 §9.3.2: the fields alone
		return []byte(fields)
	}
	return []byte(fields + body)
}

// firstLine is at most 80 bytes of the first line, for the log.
func firstLine(head []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimPrefix(head, []byte("\r\n")), []byte("\r\n"))
	return string(line[:min(len(line), 80)])
}

// lingerClose closes so that the response arrives. A close with bytes unread, or
// bytes that come after it, makes the kernel send RST, and an RST destroys what
// has not reached the client; on some systems also what the client has not read
// yet. So: say that no more will come (FIN), read what the client still sends
// until it has closed too, then close (RFC 9112 §9.6). It returns nil, or why
// it closed although the client had not.
func (s *server) lingerClose(c conn) error {
	defer unix.Close(c.fd) // never repeated after EINTR: the descriptor is gone, close(2)
	unix.Shutdown(c.fd, unix.SHUT_WR)
	start, heard := time.Now(), time.Now()
	for total := 0; total < lingerBytes && time.Since(heard) < s.lingerTimeout && !s.pastDeadline(start); {
		n, err := unix.Read(c.fd, s.buf[:])
		if n == 0 || err != nil && !isRetryable(err) {
			return err
		} else if n > 0 {
			total, heard = total+n, time.Now()
		}
	}
	return errLingerLimit
}

// pastDeadline says that what began at start has taken too long, or that the server
// stops and cannot wait for it.
func (s *server) pastDeadline(start time.Time) bool {
	soon := s.stopDeadline.Load()
	return time.Since(start) > s.headTimeout || soon != nil && time.Now().After(*soon)
}

// isRetryable says that a call only slept for a tick, or that a signal woke it. The
// Go runtime sends itself signals, so EINTR happens in programs that use none.
func isRetryable(err error) bool { return err == unix.EAGAIN || err == unix.EINTR }
