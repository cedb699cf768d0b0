package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/socket"
)

// The ways in which a connect fails. Test for them with errors.Is; the kernel's
// errno, where there was one, is in the same error.
var (
	ErrConnectTimeout = errors.New("timed out")   // no reply: a full accept queue, a firewall, a lost packet
	ErrRefused        = errors.New("refused")     // the reply is RST: no program listens there
	ErrUnreachable    = errors.New("unreachable") // reported by a router, or by our own routing table
)

// Connect opens a TCP connection to addr, an IP address and a port, and waits for
// the handshake as long as timeout and ctx allow (connect(2)). A timeout of 0
// leaves the limit to the kernel: some two minutes. The caller owns the socket;
// after an error there is none. The errors are ErrConnectTimeout, ErrRefused,
// ErrUnreachable, context.Cause(ctx), or an errno.
func Connect(ctx context.Context, addr string, timeout time.Duration) (socket.FD, error) {
	fd, err := startConnect(addr)
	if err != nil {
		return socket.FD{}, err
	}
	p, err := socket.NewFD(fd)
	if err != nil {
		unix.Close(fd)
		return socket.FD{}, fmt.Errorf("register the connection to %s with the poller: %w", addr, err)
	}
	if err := finishConnect(ctx, p, timeout); err != nil {
		p.Close() // a second connect(2) on it would fail with ECONNABORTED on Linux
		return socket.FD{}, fmt.Errorf("connect %s: %w", addr, err)
	}
	return p, nil
}

// startConnect sends the SYN and does not wait for the reply. The caller owns the
// descriptor, and passes it on to finishConnect.
func startConnect(addr string) (int, error) {
	sa, family, err := socket.ParseSockaddr(addr)
	if err != nil {
		return -1, err
	}
	fd, err := socket.NewSocket(family)
	if err != nil {
		return -1, fmt.Errorf("socket for %s: %w", addr, err)
	}
	if err = unix.SetNonblock(fd, true); err == nil {
		err = unix.Connect(fd, sa)
	}
	if err != nil && err != unix.EINPROGRESS && err != unix.EINTR { // with either of these the handshake continues
		unix.Close(fd)
		return -1, fmt.Errorf("connect %s: %w", addr, classifyErrno(err))
	}
	return fd, nil
}

// finishConnect waits until the handshake on p is over, in Go's poller like every
// wait in this part. Part 2 waits in poll(2), which holds a thread for each dial,
// and a pool with an unresponsive backend has hundreds of dials in progress. It
// checks ctx every PollInterval.
func finishConnect(ctx context.Context, p socket.FD, timeout time.Duration) error {
	until := DeadlineAfter(timeout)
	defer p.SetWriteDeadline(time.Time{})
	for {
		wake := time.Now().Add(socket.PollInterval)
		if !until.IsZero() && until.Before(wake) {
			wake = until
		}
		p.SetWriteDeadline(wake)
		var err error
		waitErr := p.RawConn.Write(func(uintptr) bool { err = connectResult(p.Sysfd); return err != unix.ENOTCONN })
		switch {
		case waitErr == nil && err == nil:
			return rejectSelfConnect(p.Sysfd)
		case waitErr == nil:
			return classifyErrno(err)
		case !socket.IsTimeout(waitErr):
			return waitErr
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !until.IsZero() && !time.Now().Before(until):
			return fmt.Errorf("%w after %v", ErrConnectTimeout, timeout)
		}
	}
}

// connectResult returns nil if the handshake succeeded, ENOTCONN while it is in
// progress, and otherwise the errno with which it failed. The socket is writable
// after success and after failure; SO_ERROR tells which, and reading it clears it.
func connectResult(fd int) error {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err == nil {
		_, err = unix.Getpeername(fd)
	}
	return err
}

// rejectSelfConnect rejects a connection whose two ends are the same socket. If no
// program listens on a local port and the kernel picks that very port for our
// end, the SYN reaches its own socket and TCP completes the handshake with itself
// (a simultaneous open, RFC 9293 §3.5). A client would read its own request as the
// response.
func rejectSelfConnect(fd int) error {
	peer, err := unix.Getpeername(fd)
	if err == nil && socket.AddrPort(peer) == socket.LocalAddr(fd) {
		return fmt.Errorf("%w: no program listens there, the connection met itself", ErrRefused)
	}
	return err
}

// classifyErrno wraps errno together with the sentinel that it means.
func classifyErrno(errno error) error {
	switch errno {
	case unix.ECONNREFUSED:
		return fmt.Errorf("%w: %w", ErrRefused, errno)
	case unix.ETIMEDOUT: // the kernel has given up on its last SYN
		return fmt.Errorf("%w: %w", ErrConnectTimeout, errno)
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENETDOWN:
		return fmt.Errorf("%w: %w", ErrUnreachable, errno)
	}
	return errno
}
