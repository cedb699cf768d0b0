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
	lingerBytes = 64 << 20                        // bytes that lingerClose reads and discards at most
	dateFormat  = "Mon, 02 Jan 2006 15:04:05 GMT" // RFC 9110 §5.6.7
)

var (
	errHeadTooLong = errors.New("request head is longer than 8 KiB")
	errLingerLimit = errors.New("gave up on a client that would not close")
)

// A server answers one connection at a time, in one goroutine. Clients that connect
// meanwhile wait in the kernel's accept queue.
type server struct {
	fd            int           // the listening socket; serve closes it
	headTimeout   time.Duration // from accept to the end of the head; also for all of lingering
	lingerTimeout time.Duration // for the client to send a byte, or close, after our response
	log           *slog.Logger
	buf           [32 << 10]byte // one connection at a time, one buffer

	stopDeadline atomic.Pointer[time.Time] // set by stop: the server waits for no client beyond it
}

func newServer(fd int, log *slog.Logger) *server {
	// Go's runtime opens descriptors for its poller with the first timer. If that were
	// the timer of a stop, and no descriptor were left, the process would crash.
	time.AfterFunc(0, func() {})
	return &server{fd: fd, headTimeout: 5 * time.Second, lingerTimeout: time.Second, log: newDedupLogger(log)}
}

// A conn is one accepted connection. answer owns its descriptor and closes it.
type conn struct {
	fd         int
	peer       unix.Sockaddr
	acceptedAt time.Time
}

// stop makes serve answer the queued connections and return. The server then waits
// for no client longer than a tenth of headTimeout from now. Any goroutine may call
// stop.
func (s *server) stop() {
	soon := time.Now().Add(s.headTimeout / 10)
	s.stopDeadline.Store(&soon)
}

// serve answers connections until stop is called. Then it accepts all queued
// connections, closes the listening socket, and answers them: closing first would
// make the kernel reset every connection in the queue. A backlog of 0 keeps all but
// one new connection out meanwhile. A connection that arrives between the last accept
// and the close is reset.
func (s *server) serve() {
	for s.stopDeadline.Load() == nil {
		if c, err := s.accept(); err == nil {
			s.answer(c)
		} else if !isRetryable(err) {
			s.log.Warn("accept", "error", err) // such as EMFILE: the connection stays in the queue
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

// drain accepts the queued connections. If it runs out of descriptors, it answers the
// oldest connection, which frees one.
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
			s.log.Error("some queued connections got no response", "error", err)
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

// answer reads one request head, responds, closes, and logs one line, whether or not
// the request was valid.
func (s *server) answer(c conn) {
	head, err := s.readHead(c)
	line, status := firstLine(head), statusFor(head, err)
	if status == "" {
		unix.Close(c.fd)
	} else { // never short: an empty send buffer has room for a few hundred bytes
		_, err = unix.Write(c.fd, response(head, status))
		err = errors.Join(err, s.lingerClose(c))
	}
	s.log.Info("connection", "peer", addrPort(c.peer), "request", line, "status", status, "error", err)
}

// readHead reads up to the blank line that ends a request head (RFC 9112 §2.1). A
// read returns what has arrived, be it a byte, half a line or the head and half a
// body, so readHead searches all of it for the blank line. With an error it returns
// the bytes read so far. The head is in s.buf, and valid until the next read.
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

// requestLine matches method, target and version (RFC 9112 §3), after at most one
// empty line, which §2.2 allows. The bytes of a target are those of RFC 3986.
var requestLine = regexp.MustCompile("^(?:\r\n)?[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!$-;=?-\\[\\]_a-z~]+ HTTP/1\\.[0-9]\r\n")

// statusFor returns the status for the outcome of readHead, or "" for no response: the
// client has sent nothing, as on a browser's spare connections, or has reset the
// connection.
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

// response returns the complete response to head.
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

// firstLine returns at most 80 bytes of the first line, for the log.
func firstLine(head []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimPrefix(head, []byte("\r\n")), []byte("\r\n"))
	return string(line[:min(len(line), 80)])
}

// lingerClose closes c so that the response arrives. If bytes are unread at the close,
// or arrive after it, the kernel sends RST, and the RST destroys what has not reached
// the client; on some systems also what the client has not read yet. So lingerClose
// sends FIN, reads what the client still sends until the client closes too, then
// closes (RFC 9112 §9.6). It returns nil, or why it closed before the client did.
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

// pastDeadline reports whether what began at start has taken longer than headTimeout,
// or the deadline of a stop has passed.
func (s *server) pastDeadline(start time.Time) bool {
	soon := s.stopDeadline.Load()
	return time.Since(start) > s.headTimeout || soon != nil && time.Now().After(*soon)
}

// isRetryable reports whether a call failed only because pollInterval passed, or a
// signal interrupted it. Go's runtime sends itself signals, so EINTR happens even in
// programs that use none.
func isRetryable(err error) bool { return err == unix.EAGAIN || err == unix.EINTR }
