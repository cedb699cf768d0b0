package client

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/socket"
)

// Limits of one connection.
const (
	MaxHead             = 16 << 10         // bytes of a response head, status line included
	BufferSize          = MaxHead + 16<<10 // bytes of Conn.Buf: the head stays in front while the body passes through the rest
	maxInterimResponses = 100              // per exchange: 103 Early Hints, or a 102 each second, ahead of the final response
	maxEmptyLines       = 2                // ahead of a response; a server that sends only these would never time out
)

// A Conn is a connection to a server, seen from the client. It carries one
// exchange at a time, and one goroutine may use it at a time. A caller uses it
// in this order:
//
//	RoundTrip       sends a request and returns when the response head has arrived
//	Response.Next   returns the body piece by piece, straight out of Buf
//	Response.Close  returns the connection to its owner, or closes it if it cannot be reused
//
// The first byte of an exchange makes the connection unusable. One thing alone
// makes it usable again: a response that was read to an end which it declared
// itself (RFC 9112 §6.3), with no byte after it, to a request whose body the server
// can be trusted to have read.
//
// A Conn owns its descriptor. A Conn that has an Owner is ended with
// Release, never with Close.
type Conn struct {
	socket.FD
	addr string

	Buf          []byte             // received: Buf[:HeadEnd] is the head that the caller reads, Buf[R:W] is unread
	HeadEnd      int                // where the head ends; 0 between exchanges
	R, W         int                // of Buf: the unread bytes
	emptyLines   int                // skipped since the last head
	encoded      []byte             // the request in wire format
	unsent       []byte             // the part of encoded that the kernel has not accepted
	bytesSent    int                // of this request, accepted by the kernel
	Requests     int                // exchanges begun on this connection
	Fields       []http1.Field      // space for those of the next response
	readErr      error              // of onReady
	writeErr     error              // of onReady or writeRest
	writeBlocked bool               // the send buffer is full
	noReuse      bool               // the request had a body that its method does not define (HasUnexpectedBody)
	upload       *upload            // nil when the body was sent with the head
	onReadyFn    func(uintptr) bool // l.onReady
	readDeadline time.Time          // as set in the poller
	writesHalted atomic.Bool        // see haltWrites

	Owner            Owner         // nil: the caller
	Fault            error         // set by the holder before a Release that is not good: ErrEnded, ErrUnsolicited or the owner's own; nil: any other reason
	KeepAliveTimeout time.Duration // how long the server keeps an idle connection (its Keep-Alive field); 0: unknown
}

// An Owner lends a connection and gets it back exactly once. It keeps a good one
// and closes a bad one.
type Owner interface{ Return(good bool) }

// Release returns l to its owner, and the caller must not touch l afterwards. If
// l has no owner, Release closes it unless it is good, and a good one stays with
// the caller. Good means that l can carry another request.
func (l *Conn) Release(good bool) {
	if l.Owner != nil {
		l.Owner.Return(good)
	} else if !good {
		l.Close()
	}
}

// DialIP connects to addr, an IP address and a port, within timeout (0: as long
// as the kernel tries) and as long as ctx allows. The caller owns the connection.
// Errors are those of Connect.
func DialIP(ctx context.Context, addr string, timeout time.Duration) (*Conn, error) {
	p, err := Connect(ctx, addr, timeout)
	if err != nil {
		return nil, err
	}
	unix.SetsockoptInt(p.Sysfd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // the end of a request does not wait for an ACK (Nagle)
	socket.LimitUnsent(p.Sysfd)                                        // a server that reads slowly is not taken for one that does not read
	return NewConn(p, addr), nil
}

// NewConn makes a Conn of a connected socket, and owns p from then on. addr is
// for error texts.
func NewConn(p socket.FD, addr string) *Conn {
	l := &Conn{FD: p, addr: addr, Buf: make([]byte, BufferSize)}
	l.onReadyFn = l.onReady // once, because a method value allocates
	return l
}

// CheckIdle returns nil if an idle connection can still carry a request. It
// never waits and costs half a microsecond: one read(2). It need not keep
// what it reads, because every byte that arrives between exchanges is the end of
// the connection or poison: the next caller would take it for its response.
//
// The errors are ErrEnded (closed, reset, or a 408 that announces the close),
// ErrUnsolicited, or, for half an empty line, one that has no sentinel: it costs
// the connection but not the trust in the backend. Empty lines are allowed (RFC
// 9112 §2.2, §9.2).
//
// CheckIdle cannot see the future: the server may close the connection right
// after it.
func (l *Conn) CheckIdle() error {
	for {
		if !l.IsQuiet() {
			return unsolicitedError(l.Buf[l.R:l.W])
		}
		l.HeadEnd, l.R, l.W = 0, 0, copy(l.Buf, l.Buf[l.R:l.W])
		n, err := socket.ReadNow(uintptr(l.Sysfd), l.Buf[l.W:])
		switch {
		case err == unix.EAGAIN && l.R < l.W:
			return errPartialLine
		case err == unix.EAGAIN:
			return nil
		case n > 0:
			l.W += n
		case err != unix.EINTR:
			return ErrEnded
		}
	}
}

// SkipEmptyLines drops empty lines, maxEmptyLines at most, ahead of a response. Some
// servers send one after a body, and RFC 9112 §2.2 lets a client ignore it. It can
// arrive with the body or after the next request was sent, so it is skipped wherever
// a response could begin.
func (l *Conn) SkipEmptyLines() {
	for l.emptyLines < maxEmptyLines && l.W-l.R >= 2 && l.Buf[l.R] == '\r' && l.Buf[l.R+1] == '\n' {
		l.R += 2
		l.emptyLines++
	}
}

// IsQuiet reports whether Buf holds nothing that could be a response: no byte, or
// empty lines only, the last of which may be incomplete.
func (l *Conn) IsQuiet() bool {
	l.SkipEmptyLines()
	return l.R == l.W || l.W-l.R == 1 && l.Buf[l.R] == '\r' && l.emptyLines < maxEmptyLines
}

var errPartialLine = errors.New("half an empty line has arrived")

// unsolicitedError says what bytes between exchanges mean. Some servers send a 408
// when they close an idle connection: that is a close like any other.
func unsolicitedError(b []byte) error {
	if bytes.HasPrefix(b, []byte("HTTP/1.1 408")) {
		return ErrEnded
	}
	return ErrUnsolicited
}

// Interrupt makes a wait on the connection fail with os.ErrDeadlineExceeded. Any
// goroutine may call it.
func (l *Conn) Interrupt() { l.SetDeadline(socket.LongAgo) }
