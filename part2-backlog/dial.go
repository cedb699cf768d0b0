package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The ways in which a connect fails. Test for them with errors.Is; the kernel's
// errno, where there was one, is in the same error.
var (
	ErrConnectTimeout = errors.New("timed out")   // no reply: a full accept queue, a firewall, a lost packet
	ErrRefused        = errors.New("refused")     // the reply is RST: no program listens there
	ErrUnreachable    = errors.New("unreachable") // reported by a router, or by our own routing table
)

// connect opens a TCP connection to addr, an IP address and a port, and waits
// for the handshake as long as timeout and ctx allow; a timeout of 0 leaves it
// to the kernel, which goes on for two minutes. The descriptor is non-blocking
// and belongs to the caller. With an error there is none. connect(2), poll(2).
func connect(ctx context.Context, addr string, timeout time.Duration) (int, error) {
	fd, err := startConnect(addr)
	if err != nil {
		return -1, err
	}
	if err := finishConnect(ctx, fd, timeout); err != nil {
		unix.Close(fd) // a second connect(2) on it would fail with ECONNABORTED on Linux
		return -1, fmt.Errorf("connect %s: %w", addr, err)
	}
	return fd, nil
}

// startConnect sends the SYN and does not wait for the reply. The caller owns the
// descriptor, and passes it on to finishConnect.
func startConnect(addr string) (int, error) {
	sa, family, err := parseSockaddr(addr)
	if err != nil {
		return -1, err
	}
	fd, err := newSocket(family)
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

// finishConnect waits until the handshake that began on fd is over. A socket that
// becomes writable is connected or has failed: only SO_ERROR tells which.
func finishConnect(ctx context.Context, fd int, timeout time.Duration) error {
	var until time.Time
	if timeout > 0 {
		until = time.Now().Add(timeout)
	}
	err := waitReady(ctx, fd, unix.POLLOUT, until)
	if err == os.ErrDeadlineExceeded {
		return fmt.Errorf("%w after %v", ErrConnectTimeout, timeout)
	} else if err != nil {
		return err
	}
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR) // reads it and clears it
	if err != nil {
		return err
	} else if errno != 0 {
		return classifyErrno(unix.Errno(errno))
	}
	return rejectSelfConnect(fd)
}

// rejectSelfConnect rejects a connection whose two ends are the same socket. If no
// program listens on a local port and the kernel picks that very port for our
// end, the SYN reaches its own socket and TCP completes the handshake with itself
// (a simultaneous open, RFC 9293 §3.5). A client would read its own request as the
// response.
func rejectSelfConnect(fd int) error {
	peer, err := unix.Getpeername(fd)
	if err == nil && addrPort(peer) == localAddr(fd) {
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

// poll is poll(2). Tests put signals in its way.
var poll = unix.Poll

// waitReady waits until fd can be read (POLLIN) or written (POLLOUT), or has
// failed, which the next call on it will tell. It returns os.ErrDeadlineExceeded
// at the time until, unless that is zero, and the cause when ctx is done; it
// looks at ctx at every tick. A signal cuts poll short with EINTR: the time that
// is left is then computed anew, or signals that keep coming would keep us here.
func waitReady(ctx context.Context, fd int, events int16, until time.Time) error {
	for {
		wait := pollInterval
		if !until.IsZero() {
			wait = max(0, min(wait, time.Until(until)))
		}
		inMilliseconds := int((wait + time.Millisecond - 1) / time.Millisecond) // rounded up: never a busy loop
		n, err := poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, inMilliseconds)
		switch {
		case n > 0:
			return nil
		case err != nil && err != unix.EINTR:
			return fmt.Errorf("poll: %w", err)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !until.IsZero() && !time.Now().Before(until):
			return os.ErrDeadlineExceeded
		}
	}
}
