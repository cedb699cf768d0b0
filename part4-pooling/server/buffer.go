package server

import "sync"

// A readBuffer holds bytes that were read from a connection and not yet consumed. It
// has memory only while it holds bytes or a read is about to fill it, so an idle
// connection costs none.
type readBuffer struct {
	buf        *[readBufferSize]byte
	r, w       int       // buf[r:w] is unconsumed
	scanned    int       // bytes already searched that hold no complete head
	emptyLines int       // empty lines received before the next request
	readState  readState // what the kernel may still have to read
}

var readBuffers = sync.Pool{New: func() any { return new([readBufferSize]byte) }}

func (in *readBuffer) acquire() {
	if in.buf == nil {
		in.buf = readBuffers.Get().(*[readBufferSize]byte)
	}
}

// releaseIfEmpty returns the memory to the pool if it holds no bytes.
func (in *readBuffer) releaseIfEmpty() {
	if in.buf != nil && in.empty() {
		readBuffers.Put(in.buf)
		in.buf, in.r, in.w = nil, 0, 0
	}
}

// clear discards the unconsumed bytes.
func (in *readBuffer) clear() {
	in.r, in.w = 0, 0
	in.releaseIfEmpty()
}

func (in *readBuffer) empty() bool { return in.r == in.w }

// bytes returns the unconsumed bytes. They are valid until the next read.
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

// skipEmptyLines skips the empty lines that some clients send after a body (RFC 9112
// §2.2), and returns how many there were.
func (in *readBuffer) skipEmptyLines() (n int) {
	for in.w-in.r >= 2 && in.buf[in.r] == '\r' && in.buf[in.r+1] == '\n' {
		in.skip(2)
		n++
	}
	return n
}

// compact moves the unconsumed bytes to the front when there is no room after them.
func (in *readBuffer) compact() {
	if in.r > 0 && in.w == readBufferSize {
		in.w = copy(in.buf[:], in.buf[in.r:in.w])
		in.r = 0
	}
}

// A writeBuffer holds encoded responses that wait to be written.
type writeBuffer struct{ b []byte }

var writeBuffers = sync.Pool{New: func() any { return new(writeBuffer) }}

func (b *writeBuffer) release() {
	b.b = b.b[:0]
	writeBuffers.Put(b)
}
