package client

import (
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"socketup/part4-pooling/http1"
)

// An upload sends a long request body while its caller already reads the
// response. Without it, a server that responds as it reads (an echo, a filter)
// would wait for us while we wait for it. A server may also respond before it has
// read the whole body: then the response ends first, and stop ends the upload at
// whatever point it is.
//
// A nil upload is a body that was sent with its head: complete.
type upload struct {
	conn    *Conn
	request *Request
	done    chan struct{} // closed when run has ended; the fields below may be read after that
	endedAt time.Time     // when run ended
	sent    bool          // the kernel has accepted the whole body
	err     error         // ErrUpload: Stream failed, not the connection
}

const (
	chunkPrefix = 8 // bytes ahead of a piece, for the chunk size line: at most 4 hexadecimal digits
	chunkSuffix = 8 // bytes after it, for its line end and the last chunk
)

var uploadBuffers = sync.Pool{New: func() any { return new([chunkPrefix + 16<<10 + chunkSuffix]byte) }}

// startUpload sends what is left of the head of c, and starts to send its body.
func (r *Response) startUpload(c *Request) {
	until, _ := r.deadlineFor(time.Now(), r.IdleTimeout, nil)
	r.heldRequest = nil
	if r.Conn.writeReady(uintptr(r.Conn.Sysfd)); r.Conn.writeBlocked {
		r.writeRest(until)
	}
	r.Conn.upload = &upload{conn: r.Conn, request: c, done: make(chan struct{})}
	if r.Conn.writeErr != nil { // a response may have arrived nevertheless
		close(r.Conn.upload.done)
		return
	}
	go r.Conn.upload.run(r.IdleTimeout) // stop waits for it
}

// run sends the body to its end, or until a read or a write fails. idle bounds
// each write.
func (u *upload) run(idle time.Duration) {
	defer func() {
		u.endedAt = time.Now()
		close(u.done)
		if u.err != nil {
			u.conn.Interrupt()
		}
	}()
	buf := uploadBuffers.Get().(*[chunkPrefix + 16<<10 + chunkSuffix]byte)
	defer uploadBuffers.Put(buf)
	for {
		n, err := u.request.Stream.Read(buf[chunkPrefix : len(buf)-chunkSuffix])
		piece := buf[chunkPrefix : chunkPrefix+n]
		if u.request.Length == http1.Chunked {
			piece = encodeChunk(buf[:], n, err == io.EOF)
			if err == io.EOF {
				piece = u.appendTrailers(piece)
			}
		}
		if len(piece) > 0 {
			if _, err := u.conn.Write(piece, DeadlineAfter(idle)); err != nil {
				return // the reader of the response sees the failure too, perhaps after a response
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

// encodeChunk frames n bytes of buf, which begin at chunkPrefix, as a chunk in
// place (RFC 9112 §7.1). If last, it adds the size line of the last chunk; the
// trailer section and the empty line are still missing.
func encodeChunk(buf []byte, n int, last bool) []byte {
	var size [chunkPrefix]byte
	line := append(strconv.AppendInt(size[:0], int64(n), 16), '\r', '\n')
	from, to := chunkPrefix, chunkPrefix+n
	if n > 0 {
		from -= copy(buf[from-len(line):], line)
		to += copy(buf[to:], "\r\n")
	}
	if last {
		to += copy(buf[to:], "0\r\n")
	}
	return buf[from:to]
}

// appendTrailers appends the trailer section, if Stream has one, and the empty line
// that ends a chunked body.
func (u *upload) appendTrailers(piece []byte) []byte {
	if t, ok := u.request.Stream.(trailerSource); ok {
		piece = AppendFields(piece, t.TrailerFields())
	}
	return append(piece, "\r\n"...)
}

// DeadlineAfter returns the time d from now, or the zero time, which is no
// deadline, for d <= 0.
func DeadlineAfter(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// running reports whether the goroutine of run is still at work.
func (u *upload) running() bool {
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

// lastActive is now while the upload runs, then the time at which it ended, and
// zero without an upload.
func (u *upload) lastActive() (at time.Time) {
	switch {
	case u == nil:
		return at
	case u.running():
		return time.Now()
	}
	return u.endedAt
}

// failure is the error that ended the reading of Stream, once the upload has ended.
func (u *upload) failure() error {
	if u == nil || u.running() {
		return nil
	}
	return u.err
}

// stop ends the upload if it is still running, and reports whether the whole body
// was sent. When it returns, no goroutine reads Stream any more.
func (u *upload) stop() (complete bool) {
	if u == nil {
		return true
	}
	if u.running() {
		u.conn.haltWrites()
		if s, ok := u.request.Stream.(readCanceler); ok {
			s.CancelRead()
		}
		<-u.done
		u.conn.resumeWrites() // run may have sent the whole body before the halt
	}
	return u.sent
}
