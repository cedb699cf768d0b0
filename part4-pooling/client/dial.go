package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/socket"
)

// What connect ends in when it does not end well. errors.Is finds them in its
// error, and the kernel's errno beside them where there was one.
var (
	ErrConnectTimeout = errors.New("timed out")   // no response: a full queue, a firewall, a lost packet
	ErrRefused        = errors.New("refused")     // the response is RST: nobody listens there
	ErrUnreachable    = errors.New("unreachable") // a router, or our own routing table, says so
)

// Connect opens a TCP connection to addr, an IP address and a port, and waits
// for the handshake as long as timeout and ctx allow; a timeout of 0 leaves it
// to the kernel, which goes on for two minutes. The socket belongs to the
// caller. With an error there is none. connect(2).
func Connect(ctx context.Context, addr string, timeout time.Duration) (socket.FD, error) {
	fd, err := startConnect(addr)
	if err != nil {
		return socket.FD{}, err
	}
	p, err := socket.NewFD(fd)
	if err != nil {
		unix.Close(fd)
		return socket.FD{}, fmt.Errorf("park the connection to %s: %w", addr, err)
	}
	if err := finishConnect(ctx, p, timeout); err != nil {
		p.Close() // and never try again on it: Linux would say ECONNABORTED
		return socket.FD{}, fmt.Errorf("connect %s: %w", addr, err)
	}
	return p, nil
}

// startConnect sends the SYN and does not wait for what comes back. Whoever
// gets the descriptor owns it, and hands it to finishConnect.
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
	if err != nil && err != unix.EINPROGRESS && err != unix.EINTR { // either of the two: it is under way
		unix.Close(fd)
		return -1, fmt.Errorf("connect %s: %w", addr, classifyErrno(err))
	}
	return fd, nil
}

// finishConnect waits until the handshake that began on p is over. It waits in
// Go's poller, as for all that is parked: part 2 waits in poll(2), which holds a
// thread for each dial, and a pool with a backend that does not answer has
// hundreds of them under way. It looks at ctx at every tick.
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

// connectResult is how it went: nil, ENOTCONN while it is under way, or why it
// failed. Writable is a socket in both of the cases in which it is over; only
// SO_ERROR tells which, and clears it.
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

// rejectSelfConnect refuses a connection whose two ends are the same. When nobody
// listens on a local port, and the kernel picks that very port for our end, the
// SYN meets its own socket and TCP shakes hands with itself (a simultaneous
// open, RFC 9293 §3.5). A client would read its own request as the response.
func rejectSelfConnect(fd int) error {
	peer, err := unix.Getpeername(fd)
	if err == nil && socket.AddrPort(peer) == socket.LocalAddr(fd) {
		return fmt.Errorf("%w: nobody listens there, the connection met itself", ErrRefused)
	}
	return err
}

// classifyErrno puts one of our errors beside the errno that means it.
func classifyErrno(errno error) error {
	switch errno {
	case unix.ECONNREFUSED:
		return fmt.Errorf("%w: %w", ErrRefused, errno)
	case unix.ETIMEDOUT: // the kernel has sent its last SYN
		return fmt.Errorf("%w: %w", ErrConnectTimeout, errno)
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENETDOWN:
		return fmt.Errorf("%w: %w", ErrUnreachable, errno)
	}
	return errno
}
