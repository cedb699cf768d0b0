package client

import (
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"socketup/part4-pooling/http1"
)

// An upload sends a long body while its caller already reads the answer: a
// server that answers as it reads (an echo, a filter) would otherwise wait for
// us, and we for it. A server may also answer before it has read all, and mean
// it: then the answer ends first, and end stops the upload, wherever it is.
//
// A nil upload is a body that went with its head: complete.
type upload struct {
	l    *Link
	c    *Call
	done chan struct{} // closed when it has ended; then the others can be read
	at   time.Time     // when that was
	sent bool          // all of it
	err  error         // the body failed, not the link
}

const (
	chunkFront = 8 // bytes before a piece, for its size line: 4 hexadecimal digits at most
	chunkBack  = 8 // behind it, for its line end and the last chunk
)

var uploadBuffers = sync.Pool{New: func() any { return new([chunkFront + 16<<10 + chunkBack]byte) }}

// beginUpload sends the head of c, if it is not out yet, and starts to send its body.
func (r *Answer) beginUpload(c *Call) {
	until, _ := r.limit(time.Now(), r.Idle, nil)
	if r.held = nil; len(r.L.out) > 0 {
		r.L.sendRest(until)
	}
	r.L.upload = &upload{l: r.L, c: c, done: make(chan struct{})}
	if r.L.writeErr != nil { // the answer may be there all the same
		close(r.L.upload.done)
		return
	}
	go r.L.upload.run(r.Idle) // end waits for it
}

func (u *upload) run(idle time.Duration) {
	defer func() {
		u.at = time.Now()
		close(u.done)
		if u.err != nil {
			u.l.Interrupt()
		}
	}()
	buf := uploadBuffers.Get().(*[chunkFront + 16<<10 + chunkBack]byte)
	defer uploadBuffers.Put(buf)
	for {
		n, err := u.c.Stream.Read(buf[chunkFront : len(buf)-chunkBack])
		piece := buf[chunkFront : chunkFront+n]
		if u.c.Length == http1.Chunked {
			piece = chunk(buf[:], n, err == io.EOF)
			if err == io.EOF {
				piece = u.appendTrailers(piece)
			}
		}
		if len(piece) > 0 {
			if _, err := u.l.Write(piece, Deadline(idle)); err != nil {
				return // the reader will find out, and perhaps an answer before
			}
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

// chunk frames the n bytes of buf behind its front in place, and if last begins
// the last chunk behind them: what it lacks is the trailers and an empty line.
func chunk(buf []byte, n int, last bool) []byte {
	var size [chunkFront]byte
	line := append(strconv.AppendInt(size[:0], int64(n), 16), '\r', '\n')
	from, to := chunkFront, chunkFront+n
	if n > 0 {
		from -= copy(buf[from-len(line):], line)
		to += copy(buf[to:], "\r\n")
	}
	if last {
		to += copy(buf[to:], "0\r\n")
	}
	return buf[from:to]
}

// appendTrailers ends a chunked body.
func (u *upload) appendTrailers(piece []byte) []byte {
	if t, ok := u.c.Stream.(trailing); ok {
		piece = AppendFields(piece, t.Trailing())
	}
	return append(piece, "\r\n"...)
}

func Deadline(d time.Duration) time.Time {
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

// lastAtWork is now, or when it ended; zero if there is none.
func (u *upload) lastAtWork() (at time.Time) {
	switch {
	case u == nil:
		return at
	case u.underWay():
		return time.Now()
	}
	return u.at
}

// failed is why the body could not be read to its end, if that is known by now.
func (u *upload) failed() error {
	if u == nil || u.underWay() {
		return nil
	}
	return u.err
}

// end stops the upload if it is not at its end, and says whether it was. When
// it returns nobody reads the stream any more.
func (u *upload) end() (complete bool) {
	if u == nil {
		return true
	}
	if u.underWay() {
		u.l.halt()
		if s, ok := u.c.Stream.(stopper); ok {
			s.Stop()
		}
		<-u.done
		u.l.goOn() // it may have sent all of it all the same
	}
	return u.sent
}
