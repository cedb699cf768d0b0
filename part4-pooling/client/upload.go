package client

import (
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"socketup/part4-pooling/http1"
)

// An upload sends a long body while its caller already reads the response: a
// server that answers as it reads (an echo, a filter) would otherwise wait for
// us, and we for it. A server may also answer before it has read all, and mean
// it: then the response ends first, and end stops the upload, wherever it is.
//
// A nil upload is a body that went with its head: complete.
type upload struct {
	conn    *Conn
	request *Request
	done    chan struct{} // closed when it has ended; then the others can be read
	endedAt time.Time     // when that was
	sent    bool          // all of it
	err     error         // the body failed, not the connection
}

const (
	chunkPrefix = 8 // bytes before a piece, for its size line: 4 hexadecimal digits at most
	chunkSuffix = 8 // behind it, for its line end and the last chunk
)

var uploadBuffers = sync.Pool{New: func() any { return new([chunkPrefix + 16<<10 + chunkSuffix]byte) }}

// startUpload sends the head of c, if it is not out yet, and starts to send its body.
func (r *Response) startUpload(c *Request) {
	until, _ := r.deadlineFor(time.Now(), r.IdleTimeout, nil)
	if r.heldRequest = nil; len(r.Conn.unsent) > 0 {
		r.Conn.writeRest(until)
	}
	r.Conn.upload = &upload{conn: r.Conn, request: c, done: make(chan struct{})}
	if r.Conn.writeErr != nil { // the response may be there all the same
		close(r.Conn.upload.done)
		return
	}
	go r.Conn.upload.run(r.IdleTimeout) // end waits for it
}

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
				return // the reader will find out, and perhaps a response before
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

// encodeChunk frames the n bytes of buf behind its front in place, and if last begins
// the last chunk behind them: what it lacks is the trailers and an empty line.
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

// appendTrailers ends a chunked body.
func (u *upload) appendTrailers(piece []byte) []byte {
	if t, ok := u.request.Stream.(trailerSource); ok {
		piece = AppendFields(piece, t.TrailerFields())
	}
	return append(piece, "\r\n"...)
}

func DeadlineAfter(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

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

// lastActive is now, or when it ended; zero if there is none.
func (u *upload) lastActive() (at time.Time) {
	switch {
	case u == nil:
		return at
	case u.running():
		return time.Now()
	}
	return u.endedAt
}

// failure is why the body could not be read to its end, if that is known by now.
func (u *upload) failure() error {
	if u == nil || u.running() {
		return nil
	}
	return u.err
}

// stop stops the upload if it is not at its end, and says whether it was. When
// it returns nobody reads the stream any more.
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
		u.conn.resumeWrites() // it may have sent all of it all the same
	}
	return u.sent
}
