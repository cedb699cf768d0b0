package server

import "sync"

// An input is what was read from a connection and not used yet. It has a buffer
// only while there is something in it, or just about to be.
type input struct {
	buf    *[inSize]byte
	r, w   int     // buf[r:w]
	looked int     // bytes that hold no whole head
	blank  int     // empty lines that came ahead of the next request
	state  arrival // of what was not read yet
}

var inputs = sync.Pool{New: func() any { return new([inSize]byte) }}

func (in *input) borrow() {
	if in.buf == nil {
		in.buf = inputs.Get().(*[inSize]byte)
	}
}

// giveBack returns the buffer, if it is empty.
func (in *input) giveBack() {
	if in.buf != nil && in.empty() {
		inputs.Put(in.buf)
		in.buf, in.r, in.w = nil, 0, 0
	}
}

// clear forgets what was not used.
func (in *input) clear() {
	in.r, in.w = 0, 0
	in.giveBack()
}

func (in *input) empty() bool { return in.r == in.w }

// bytes are good until the next read.
func (in *input) bytes() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf[in.r:in.w]
}

func (in *input) room() []byte { return in.buf[in.w:] }

func (in *input) skip(n int) {
	if in.r += n; in.r == in.w {
		in.r, in.w = 0, 0
	}
}

// skipEmptyLines skips what some clients send behind a body (RFC 9112 §2.2), and
// returns how many lines there were.
func (in *input) skipEmptyLines() (n int) {
	for in.w-in.r >= 2 && in.buf[in.r] == '\r' && in.buf[in.r+1] == '\n' {
		in.skip(2)
		n++
	}
	return n
}

// compact makes room behind what is left.
func (in *input) compact() {
	if in.r > 0 && in.w == inSize {
		in.w = copy(in.buf[:], in.buf[in.r:in.w])
		in.r = 0
	}
}

// A buffer holds answers on their way out.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func (b *buffer) free() {
	b.b = b.b[:0]
	buffers.Put(b)
}
