package engine

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/socket"
)

// The reading half of an http2Lane. The reader waits for the backend only. A sink that can
// take a piece at once gets it here; for one that cannot, a pump takes over the stream.

// A laneReader is what the reader of a lane needs.
type laneReader struct {
	buf         []byte // buf[r:w] has arrived and is not handled
	r, w        int
	decoder     *http2.Decoder
	fields      []http1.Field
	block       []byte      // a header block that goes on in CONTINUATION frames; nil: none does
	blockOf     http2.Frame // its HEADERS
	blockMemory []byte      // for the next one
	received    int         // bytes of DATA that were not given back as window of the connection
	idle        int         // frames since one that brought a response forward
	limit       int         // of idle
	touched     []*stream   // that were passed bytes since the last wait, and are not complete
	owed        []Flusher   // with complete responses that are not written to the client yet
	locked      bool        // borrow has taken the lock
	idleSince   time.Time   // when the lane last had a stream, to the tick
}

func (r *laneReader) init(limits *StreamLimits) {
	r.buf = make([]byte, client.BufferSize) // a frame and its header, and as much again
	r.decoder = http2.NewDecoder(0, client.MaxHead)
	r.limit = limits.Control
}

// awaitSettings reads until the backend's SETTINGS have arrived, which must be its first
// frame (RFC 9113 §3.4).
func (l *http2Lane) awaitSettings(until time.Time) error {
	r := &l.reader
	l.conn.SetReadDeadline(until)
	defer l.conn.SetReadDeadline(time.Time{})
	for {
		f, n, bad := http2.ParseFrame(r.buf[r.r:r.w], http2.DefaultMaxFrame)
		switch {
		case bad == nil && n > 0 && f.Type == http2.FrameSettings && f.Flags&http2.FlagAck == 0:
			r.r += n
			return l.onSettings(f)
		case bad != nil || n > 0 || r.w-r.r >= http2.FrameHeaderLen && http2.FrameType(r.buf[3]) != http2.FrameSettings:
			return http1.BadResponse("the backend does not speak HTTP/2: its first frame is not SETTINGS")
		}
		switch err := l.fill(); {
		case socket.IsTimeout(err):
			return fmt.Errorf("%w: the backend sent no HTTP/2 SETTINGS", client.ErrHeadTimeout)
		case err != nil:
			return fmt.Errorf("%w: it ended before the backend's SETTINGS: %w", client.ErrEnded, err)
		}
	}
}

// runReader handles what arrives until the lane ends, and then decides what becomes of the
// jobs that are left.
func (l *http2Lane) runReader() {
	l.end(l.readAll())
}

// readAll handles frames until the lane ends, and returns why.
func (l *http2Lane) readAll() error {
	for {
		if err := l.handleBuffered(); err != nil {
			return err
		}
		l.settle()
		if err := l.tick(); err != nil {
			return err
		}
		err := l.fill()
		if err != nil && !socket.IsTimeout(err) {
			return l.whyEnded(err)
		}
	}
}

// whyEnded returns the reason for the end of the connection, which the reader has seen as err.
func (l *http2Lane) whyEnded(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	return fmt.Errorf("%w: %w", client.ErrEnded, err)
}

// fill waits until more has arrived.
func (l *http2Lane) fill() (err error) {
	r := &l.reader
	r.r, r.w = 0, copy(r.buf, r.buf[r.r:r.w])
	var n int
	waitErr := l.conn.RawConn.Read(func(fd uintptr) bool {
		n, err = socket.ReadNow(fd, r.buf[r.w:])
		for err == unix.EINTR {
			n, err = socket.ReadNow(fd, r.buf[r.w:])
		}
		return err != unix.EAGAIN
	})
	switch {
	case waitErr != nil:
		return waitErr
	case err == nil && n == 0:
		return errEOF
	case err != nil:
		return err
	}
	r.w += n
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heard = wallNow(); !l.proving { // what was sent before our PING proves nothing
		l.pinged = time.Time{}
	}
	return nil
}

var errEOF = errors.New("the backend closed it")

// handleBuffered handles all complete frames that have arrived.
func (l *http2Lane) handleBuffered() error {
	r := &l.reader
	if l.countAnswers() > r.limit { // one that sends PINGs and does not read the answers must not fill our memory
		return l.refuse(connError(http2.EnhanceYourCalm, "it does not read what we answer"))
	}
	for {
		f, n, bad := http2.ParseFrame(r.buf[r.r:r.w], http2.DefaultMaxFrame)
		if bad == nil && n == 0 {
			return nil
		}
		if bad == nil {
			bad = l.handle(f)
		}
		if bad != nil {
			return l.refuse(bad)
		}
		r.r += n
	}
}

// countAnswers returns how many frames that the backend has caused wait for the writer.
func (l *http2Lane) countAnswers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers
}

// refuse ends the lane because of what the backend has sent, and tells it so.
func (l *http2Lane) refuse(bad *http2.ConnError) error {
	goAway := http2.AppendGoAway(nil, 0, bad.Code, bad.Detail)
	socket.WriteNow(uintptr(l.conn.Sysfd), goAway)                               // for the backend's log; it may be lost
	return fmt.Errorf("%w: %w", client.ErrEnded, http1.BadResponse(bad.Error())) // what it said before may be right: others' requests may be sent again
}

// handle handles one frame. Frames of unknown types are ignored (RFC 9113 §5.5).
func (l *http2Lane) handle(f http2.Frame) *http2.ConnError {
	r := &l.reader
	if r.block != nil && (f.Type != http2.FrameContinuation || f.StreamID != r.blockOf.StreamID) {
		return &http2.ConnError{Code: http2.ProtocolError, Detail: "a header block was interrupted"}
	}
	if r.idle++; r.idle > r.limit {
		return &http2.ConnError{Code: http2.EnhanceYourCalm, Detail: "too many frames that bring no response forward"}
	}
	switch f.Type {
	case http2.FrameData:
		return l.onData(f)
	case http2.FrameHeaders:
		return l.onHeaders(f)
	case http2.FrameContinuation:
		return l.onContinuation(f)
	case http2.FrameRSTStream:
		return l.onReset(f)
	case http2.FrameSettings:
		if f.Flags&http2.FlagAck != 0 {
			return nil
		}
		if err := l.onSettings(f); err != nil {
			return err.(*http2.ConnError)
		}
		return nil
	case http2.FramePing:
		l.onPing(f)
		return nil
	case http2.FrameGoAway:
		return l.onGoAway(f)
	case http2.FrameWindowUpdate:
		return l.onWindowUpdate(f)
	case http2.FramePushPromise:
		return &http2.ConnError{Code: http2.ProtocolError, Detail: "PUSH_PROMISE, although SETTINGS_ENABLE_PUSH is 0"}
	}
	return nil
}
