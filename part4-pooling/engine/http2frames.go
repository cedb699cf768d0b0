package engine

import (
	"fmt"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/http2"
)

// What the reader of an http2Lane does with each type of frame. An error of the connection
// is returned, and ends the lane; an error of a stream fails its job (RFC 9113 §5.4).

func connError(code http2.ErrorCode, detail string) *http2.ConnError {
	return &http2.ConnError{Code: code, Detail: detail}
}

// lookup returns the stream of f, or nil if it has ended. A stream that we have not opened
// is an error (RFC 9113 §5.1, idle). The caller holds the lock.
func (l *http2Lane) lookup(f http2.Frame) (*stream, *http2.ConnError) {
	if f.StreamID >= l.nextID || f.StreamID%2 == 0 {
		return nil, connError(http2.ProtocolError, f.Type.String()+" on a stream that was never opened")
	}
	return l.streams[f.StreamID], nil
}

// onHeaders begins a header block, and handles it if it is complete.
func (l *http2Lane) onHeaders(f http2.Frame) *http2.ConnError {
	r := &l.reader
	if f.Flags&http2.FlagEndHeaders != 0 {
		return l.onHeaderBlock(f, f.Payload)
	}
	r.blockOf, r.block = f, append(r.blockMemory[:0], f.Payload...)
	if r.block == nil {
		r.block = []byte{}
	}
	return nil
}

// onContinuation appends to a header block. A block may have no end (the "CONTINUATION
// flood"), so its size is bounded, and handle bounds the number of its frames.
func (l *http2Lane) onContinuation(f http2.Frame) *http2.ConnError {
	r := &l.reader
	if r.block == nil {
		return connError(http2.ProtocolError, "CONTINUATION without HEADERS")
	}
	if len(r.block)+len(f.Payload) > maxBlock {
		return connError(http2.EnhanceYourCalm, "a header block is too long")
	}
	if r.block = append(r.block, f.Payload...); f.Flags&http2.FlagEndHeaders == 0 {
		return nil
	}
	block := r.block
	r.block, r.blockMemory = nil, block
	return l.onHeaderBlock(r.blockOf, block)
}

const maxBlock = 2 * client.MaxHead // bytes of a header block: Huffman coding can make a field longer than it is

// onHeaderBlock handles a complete block. It is decoded even if its stream has ended: the
// decoder's state is the connection's (RFC 9113 §4.3).
func (l *http2Lane) onHeaderBlock(f http2.Frame, block []byte) (bad *http2.ConnError) {
	r := &l.reader
	r.fields, bad = r.decoder.Decode(block, r.fields[:0])
	if bad != nil {
		return bad
	}
	s, bad := l.borrow(f)
	if s == nil {
		if l.wasAllowed(len(block)) { // as in onData
			r.idle--
		}
		return bad
	}
	r.idle = 0
	why := l.onHead(s, f.Flags&http2.FlagEndStream != 0)
	if l.handBack(); why != nil {
		l.failStream(s, http2.ProtocolError, why)
	}
	return nil
}

// onHead handles the fields of the reader as an interim response, a response head or
// trailers of s, which is borrowed. An error means that the response is malformed.
func (l *http2Lane) onHead(s *stream, last bool) error {
	r, a := &l.reader, &s.response
	switch {
	case r.decoder.TooLong:
		return http1.BadResponse("the response head is too long")
	case s.state == complete:
		return http1.BadResponse("HEADERS after the end of the response")
	case s.state == inBody && !last:
		return http1.BadResponse("a second response head")
	case s.state == inBody && s.remaining > 0:
		return http1.BadResponse("the body is shorter than its content-length")
	case s.state == inBody:
		if err := http2.ParseTrailers(r.fields); err != nil {
			return err
		}
		s.state = complete
		l.passTrailers(s)
		return nil
	}
	if err := http2.ParseResponseHead(&a.ResponseHead, r.fields, string(s.job.Request.Method) == "HEAD"); err != nil {
		return err
	}
	if a.Status < 200 {
		if s.interims++; last || s.interims > maxInterims {
			return http1.BadResponse("an interim response ends the stream, or there are too many")
		}
		l.passInterim(s)
		return nil
	}
	s.state, s.since, s.remaining = inBody, time.Now(), a.Length
	if a.Length == http1.Chunked {
		s.remaining = -1
	}
	if last && s.remaining > 0 {
		return http1.BadResponse("the body is shorter than its content-length")
	}
	if last {
		s.state = complete
	}
	s.job.moveTo(jobResponding)
	l.passHead(s)
	return nil
}

const maxInterims = 100 // interim responses to one request

// onData passes on a piece of a body. What is not passed on counts for flow control too: the
// padding, and the bytes of streams that have ended.
func (l *http2Lane) onData(f http2.Frame) *http2.ConnError {
	r := &l.reader
	l.countReceived(f.Length)
	s, bad := l.borrow(f)
	if s == nil {
		if l.wasAllowed(f.Length) { // when we reset the stream it was on its way
			r.idle--
		}
		return bad
	}
	last, piece := f.Flags&http2.FlagEndStream != 0, f.Payload
	if len(piece) > 0 || last {
		r.idle = 0
	}
	code, why := s.countData(f.Length, len(piece), last)
	if why == nil {
		l.passData(s, piece, f.Length-len(piece))
	}
	if l.handBack(); why != nil {
		l.failStream(s, code, why)
	}
	return nil
}

// wasAllowed reports whether n bytes of DATA or of a head on streams that have ended are among
// those that the backend might send before it knew that we had reset them.
func (l *http2Lane) wasAllowed(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ok := 0 < n && n <= l.late
	if ok {
		l.late -= n
	}
	return ok
}

// countData counts a DATA frame of length bytes with n bytes of the body. An error means
// that it is not allowed.
func (s *stream) countData(length, n int, last bool) (http2.ErrorCode, error) {
	rest := s.remaining - int64(n)
	s.window -= length
	switch {
	case s.state != inBody:
		return http2.ProtocolError, http1.BadResponse("DATA where no body is")
	case s.window < 0:
		return http2.FlowControlError, http1.BadResponse("more DATA than the window allows")
	case s.remaining >= 0 && (rest < 0 || last && rest > 0):
		return http2.ProtocolError, http1.BadResponse("the body is not as long as its content-length")
	case s.remaining >= 0:
		s.remaining = rest
	}
	if s.since = time.Now(); last {
		s.state = complete
	}
	return 0, nil
}

// countReceived counts n bytes of DATA against the window of the connection, and opens it
// again in time. That window is as large as can be: the windows of the streams are the
// bound. The caller is the reader.
func (l *http2Lane) countReceived(n int) {
	const refill = 1 << 30
	r := &l.reader
	if r.received += n; r.received >= refill {
		l.mu.Lock()
		l.answer(http2.AppendWindowUpdate(l.out, 0, uint32(r.received)))
		l.mu.Unlock()
		r.received = 0
		l.wakeUp()
	}
}

// onReset fails the job of a stream that the backend has reset.
func (l *http2Lane) onReset(f http2.Frame) *http2.ConnError {
	l.mu.Lock()
	s, bad := l.lookup(f)
	l.mu.Unlock()
	if s == nil || bad != nil {
		return bad
	}
	code := f.Code()
	switch {
	case code == http2.RefusedStream:
		l.endStream(s, errRefused, notProcessed)
	case code == http2.HTTP11Required:
		l.endStream(s, http1.BadResponse("the backend wants HTTP/1.1 for this request"), final)
	default:
		l.endStream(s, fmt.Errorf("%w: the backend reset the stream: %v", endOf(s), code), perhapsProcessed)
	}
	return nil
}

// endOf returns the error of a stream that ended before its response was complete.
func endOf(s *stream) error {
	if s.state == awaitingHead {
		return client.ErrEnded
	}
	return client.ErrTruncated
}

// onSettings applies the backend's settings, and acknowledges them.
func (l *http2Lane) onSettings(f http2.Frame) error {
	limit := -1
	l.mu.Lock()
	var bad *http2.ConnError
	before := l.firstWindow
	for id, value := range f.EachSetting {
		switch id {
		case http2.SettingMaxConcurrentStreams:
			limit = min(int(value), l.backend.m.Limits.Streams)
		case http2.SettingInitialWindowSize:
			l.firstWindow = int64(value)
		}
	}
	if grown := l.firstWindow - before; grown != 0 { // of open streams too (RFC 9113 §6.9.2)
		for _, s := range l.streams {
			if s.sendWindow += grown; s.sendWindow > http2.MaxWindow {
				bad = connError(http2.FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE makes a window too large")
			}
		}
		l.changed.Broadcast()
	}
	l.answer(http2.AppendSettingsAck(l.out))
	l.mu.Unlock()
	if l.wakeUp(); limit >= 0 {
		l.backend.setLimit(l, limit)
	}
	if bad != nil {
		return bad
	}
	return nil
}

// onPing answers a PING, or notes the answer to ours.
func (l *http2Lane) onPing(f http2.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.Flags&http2.FlagAck != 0 {
		if string(f.Payload) == string(pingData[:]) {
			l.pinged, l.proving = time.Time{}, false
		}
	} else {
		l.answer(http2.AppendPing(l.out, true, f.Payload))
	}
	l.wakeUp()
}

// onGoAway takes the lane out of use. The backend has not processed, and will not, the
// streams after the last one that it names (RFC 9113 §6.8): their jobs are sent again.
func (l *http2Lane) onGoAway(f http2.Frame) *http2.ConnError {
	last, code, _ := f.LastStreamAndCode()
	l.drain()
	var over []*stream // not processed
	l.mu.Lock()
	if last > l.lastID {
		l.mu.Unlock()
		return connError(http2.ProtocolError, "a second GOAWAY names a later stream")
	}
	l.lastID = last
	for id, s := range l.streams {
		if id > last {
			over = append(over, s)
		}
	}
	l.mu.Unlock()
	why := errGoAway
	if code != http2.NoError {
		why = fmt.Errorf("%w: %v", errGoAway, code)
	}
	sortByID(over)
	for _, s := range over {
		l.endStream(s, why, notProcessed)
	}
	return nil
}

// onWindowUpdate lets uploads go on.
func (l *http2Lane) onWindowUpdate(f http2.Frame) *http2.ConnError {
	n := int64(f.WindowIncrement())
	l.mu.Lock()
	l.changed.Broadcast()
	if l.sentData {
		l.sentData, l.reader.idle = false, 0
	}
	if f.StreamID == 0 {
		l.sendWindow += n
		tooLarge := l.sendWindow > http2.MaxWindow
		if l.mu.Unlock(); tooLarge {
			return connError(http2.FlowControlError, "the window of the connection is too large")
		}
		return nil
	}
	s, bad := l.lookup(f)
	if s == nil || bad != nil {
		l.mu.Unlock()
		return bad
	}
	s.sendWindow += n
	tooLarge := s.sendWindow > http2.MaxWindow
	l.mu.Unlock()
	switch {
	case n == 0:
		l.failStream(s, http2.ProtocolError, http1.BadResponse("WINDOW_UPDATE by 0"))
	case tooLarge:
		l.failStream(s, http2.FlowControlError, http1.BadResponse("the window of a stream is too large"))
	}
	return nil
}
