package server

import "sync"

// A readBuffer is what was read from a connection and not used yet. It has a buffer
// only while there is something in it, or just about to be.
type readBuffer struct {
	buf        *[readBufferSize]byte
	r, w       int       // buf[r:w]
	scanned    int       // bytes that hold no whole head
	emptyLines int       // empty lines that came ahead of the next request
	readState  readState // of what was not read yet
}

var readBuffers = sync.Pool{New: func() any { return new([readBufferSize]byte) }}

func (in *readBuffer) acquire() {
	if in.buf == nil {
		in.buf = readBuffers.Get().(*[readBufferSize]byte)
	}
}

// releaseIfEmpty returns the buffer, if it is empty.
func (in *readBuffer) releaseIfEmpty() {
	if in.buf != nil && in.empty() {
		readBuffers.Put(in.buf)
		in.buf, in.r, in.w = nil, 0, 0
	}
}

// clear forgets what was not used.
func (in *readBuffer) clear() {
	in.r, in.w = 0, 0
	in.releaseIfEmpty()
}

func (in *readBuffer) empty() bool { return in.r == in.w }

// bytes are good until the next read.
func (in *readBuffer) bytes() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf[in.r:in.w]
}

func (in *readBuffer) free() []byte { return in.buf[in.w:] }

func (in *readBuffer) skip(n int) {
	if in.r += n; in.r == in.w {
		in.r, in.w = 0, 0
	}
}

// skipEmptyLines skips what some clients send behind a body (RFC 9112 §2.2), and
// returns how many lines there were.
func (in *readBuffer) skipEmptyLines() (n int) {
	for in.w-in.r >= 2 && in.buf[in.r] == '\r' && in.buf[in.r+1] == '\n' {
		in.skip(2)
		n++
	}
	return n
}

// compact makes room behind what is left.
func (in *readBuffer) compact() {
	if in.r > 0 && in.w == readBufferSize {
		in.w = copy(in.buf[:], in.buf[in.r:in.w])
		in.r = 0
	}
}

// A writeBuffer holds answers on their way out.
type writeBuffer struct{ b []byte }

var writeBuffers = sync.Pool{New: func() any { return new(writeBuffer) }}

func (b *writeBuffer) release() {
	b.b = b.b[:0]
	writeBuffers.Put(b)
}
