package main

import (
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

// An upload sends a long body while its caller already reads the answer: a
// server that answers as it reads (an echo, a filter) would otherwise wait for
// us, and we for it. It ends when the body does, or the link is closed.
//
// A nil upload is a body that went with its head: complete.
type upload struct {
	done chan struct{} // closed when it has ended; then the others can be read
	sent bool          // all of it
	err  error         // the body failed, not the link
}

var uploadBuffers = sync.Pool{New: func() any { return new([16<<10 + 16]byte) }}

// beginUpload sends the head of c, and starts to send its body.
func (r *answer) beginUpload(c *call, t *timeouts) error {
	until, _ := r.limit(time.Now(), t.idle, nil)
	r.l.sendRest(until)
	r.l.upload = &upload{done: make(chan struct{})}
	if r.l.writeErr != nil { // the answer may be there all the same
		close(r.l.upload.done)
		return nil
	}
	go r.l.upload.run(r.l, c, t.idle) // release waits for it
	return nil
}

func (u *upload) run(l *link, c *call, idle time.Duration) {
	defer func() {
		close(u.done)
		if u.err != nil {
			l.interrupt()
		}
	}()
	buf := uploadBuffers.Get().(*[16<<10 + 16]byte)
	defer uploadBuffers.Put(buf)
	const front = 8 // bytes for a chunk's size line, 4 hexadecimal digits at most
	for {
		n, err := c.stream.Read(buf[front : len(buf)-8])
		piece := buf[front : front+n]
		if c.length == chunked {
			piece = chunk(buf[:], front, n, err == io.EOF)
		}
		l.SetWriteDeadline(deadline(idle))
		if _, failed := l.File.Write(piece); failed != nil {
			return // the reader will find out, and perhaps an answer before
		}
		switch {
		case err == io.EOF:
			u.sent = true
			return
		case err != nil:
			u.err = fmt.Errorf("%w: %w", ErrUpload, err)
			return
		}
	}
}

// chunk frames buf[at:at+n] in place, and ends the body behind it if last.
func chunk(buf []byte, at, n int, last bool) []byte {
	var size [8]byte
	line := append(strconv.AppendInt(size[:0], int64(n), 16), '\r', '\n')
	from, to := at, at+n
	if n > 0 {
		from -= copy(buf[at-len(line):], line)
		to += copy(buf[to:], "\r\n")
	}
	if last {
		to += copy(buf[to:], "0\r\n\r\n")
	}
	return buf[from:to]
}

func deadline(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

func (u *upload) underWay() bool {
	if u == nil {
		return false
	}
	select {
	case <-u.done:
		return false
	default:
		return true
	}
}

// failed is why the body could not be read to its end, if that is known by now.
func (u *upload) failed() error {
	if u == nil || u.underWay() {
		return nil
	}
	return u.err
}

// complete says whether all of the body was sent.
func (u *upload) complete() bool { return u == nil || !u.underWay() && u.sent }
