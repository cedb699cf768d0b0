package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/socket"
)

// Every wait for a server's bytes is here. It can end in five ways: bytes, the end
// of the connection, a deadline, a cancelled context, or a request body that
// failed.

// waitRead waits until more of the response has arrived. After patience it fails with
// late, after the deadline of the whole exchange with ErrTotalTimeout. It starts to watch
// the context only after PollInterval: most waits are shorter and save that work.
func (r *Response) waitRead(patience time.Duration, late error) error {
	l, began := r.Conn, time.Now()
	from := began
	if late == ErrHeadTimeout {
		if r.waitingSince.IsZero() {
			r.waitingSince = began
		}
		from = r.waitingSince
	}
	until, late := r.deadlineFor(from, patience, late)
	l.makeRoom()
	for now := began; ; now = time.Now() {
		wake := until
		if r.stopWatching == nil && (until.IsZero() || until.Sub(began) > socket.PollInterval) {
			wake = began.Add(socket.PollInterval)
		}
		l.armReadDeadline(wake, now)
		if r.stopWatching != nil { // the interrupt may have preceded armReadDeadline, which overwrote it
			if err := r.interruptErr(); err != nil {
				return err
			}
		}
		err := l.RawConn.Read(l.onReadyFn)
		switch {
		case err == nil && l.writeBlocked:
			r.writeRest(until)
		case err == nil:
			return l.readResult()
		case !socket.IsTimeout(err):
			return err
		case r.interruptErr() != nil:
			return r.interruptErr()
		case r.stopWatching == nil && time.Since(began) >= socket.PollInterval:
			r.stopWatching = context.AfterFunc(r.Ctx, l.Interrupt)
		case until.IsZero() || time.Now().Before(until): // an earlier wakeup, or the deadline of a previous request
		case len(l.unsent) == 0 && l.onReady(uintptr(l.Sysfd)): // it has arrived: this process was stopped meanwhile, and the poller looks at the clock first
			return l.readResult()
		case late == ErrTotalTimeout:
			return late
		default: // the timeout counts from the end of the upload: the server may still be reading it
			r.waitingSince = l.upload.lastActive()
			again, why := r.deadlineFor(r.waitingSince, patience, late)
			if !time.Now().Before(again) {
				return late
			}
			until, late = again, why
		}
	}
}

// interruptErr is the reason to stop waiting: the request body failed or the
// context is done. Otherwise it is nil.
func (r *Response) interruptErr() error {
	if err := r.Conn.upload.failure(); err != nil {
		return err
	}
	return context.Cause(r.Ctx)
}

// deadlineFor returns the end of a wait that begins now, and the error to return
// then.
func (r *Response) deadlineFor(now time.Time, patience time.Duration, late error) (time.Time, error) {
	if until := now.Add(patience); patience > 0 && (r.deadline.IsZero() || until.Before(r.deadline)) {
		return until, late
	}
	return r.deadline, ErrTotalTimeout
}

// armReadDeadline makes the poller wake the goroutine at until or earlier; after an
// early wakeup waitRead checks the clock and waits again. So the deadline is set
// now and then, and not for every request.
func (l *Conn) armReadDeadline(until, now time.Time) {
	if until.IsZero() && l.readDeadline.IsZero() || l.readDeadline.After(now) && (until.IsZero() || !l.readDeadline.After(until)) {
		return
	}
	l.readDeadline = until
	l.SetReadDeadline(until)
}

// readResult is the result of the last onReady: nil when bytes have arrived.
func (l *Conn) readResult() error {
	if l.readErr != nil && l.writeErr != nil {
		return fmt.Errorf("%w; before that, sending failed: %w", l.readErr, l.writeErr)
	}
	return l.readErr
}

// wrapEOF wraps as around an error that means the end of the connection. It
// returns other errors, such as a timeout, unchanged.
func (r *Response) wrapEOF(err, as error) error {
	var errno unix.Errno
	if err == io.EOF || errors.As(err, &errno) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", as, err)
	}
	return err
}
