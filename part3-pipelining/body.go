package main

import (
	"bytes"
	"cmp"
	"io"
)

const (
	maxChunkLine = 256       // bytes of a chunk's size and extensions; nobody needs more
	maxExcess    = 16 << 10  // bytes that all such lines of a body may have beyond what they are allowed for their data
	maxDiscard   = 256 << 10 // bytes of a body that its handler left unread, for keeping the connection
)

var (
	errBodyLong  = &refusal{413, "the body is too long"}
	errBodyEnded = &refusal{400, "the connection ended inside the body"}
	errBodySlow  = &refusal{408, "the body did not come in time"}
	errExcess    = &refusal{400, "the chunks are made of extensions more than of data"}
	errChunk     = &refusal{400, "a chunk is not: size in hexadecimal, CRLF, that many bytes, CRLF"}
)

// A framing finds one body in the bytes that follow a head, and its end (RFC
// 9112 §6, §7.1). Bytes in, values out: it knows of no connection.
type framing struct {
	left     int64 // of the body, or of the chunk
	chunked  bool
	state    chunkState
	most     int64 // bytes a body may have
	excess   int64 // bytes of chunk lines beyond what is allowed for them
	maxTrail int   // bytes of trailers
	trailers []field
}

// chunkState is what a chunked body must go on with.
type chunkState int

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd // the CRLF behind the data
	trailerSection
	bodyEnd
)

// frame begins a body. length is as in request.length.
func frame(length, most int64, maxTrail int) (framing, *refusal) {
	switch {
	case length > most:
		return framing{}, errBodyLong
	case length == chunked:
		return framing{chunked: true, most: most, maxTrail: maxTrail}, nil
	case length == 0:
		return framing{state: bodyEnd}, nil
	}
	return framing{state: chunkData, left: length}, nil
}

// take returns the piece of the body that b begins with, room bytes of it at
// most, and how many bytes of b it used up. When it uses none, it needs more
// than b. The piece is a part of b.
func (f *framing) take(b []byte, room int) (piece []byte, used int, refused *refusal) {
	for refused == nil && f.state != bodyEnd && len(piece) == 0 {
		var n int
		rest := b[used:]
		switch f.state {
		case chunkData:
			n = int(min(f.left, int64(min(len(rest), room))))
			piece = rest[:n]
			if f.left -= int64(n); f.left == 0 {
				f.state = chunkEnd
				if !f.chunked {
					f.state = bodyEnd
				}
			}
		case chunkSize:
			n, refused = f.takeSize(rest)
		case chunkEnd:
			n, refused = f.takeCRLF(rest)
		case trailerSection:
			n, refused = f.takeTrailers(rest)
		}
		if n == 0 {
			break
		}
		used += n
	}
	return piece, used, refused
}

// takeSize reads chunk-size [ chunk-ext ] CRLF. Extensions mean nothing to us, but
// they are read: without a bound on all of them, 8 MiB in chunks of one byte are
// 2 GiB to take in. A chunk is allowed 16 bytes and twice its data, as in net/http.
func (f *framing) takeSize(b []byte) (int, *refusal) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 && len(b) < maxChunkLine {
		return 0, nil
	}
	if end < 1 || end >= maxChunkLine || b[end-1] != '\r' {
		return 0, errChunk
	}
	line := b[:end-1]
	digits := 0
	f.left = 0
	for digits < len(line) && hexDigit(line[digits]) >= 0 {
		if f.left>>56 != 0 { // more than 60 bits would overflow, and wrap to a small number; zeros before it do not
			return 0, errBodyLong
		}
		f.left = f.left<<4 | int64(hexDigit(line[digits]))
		digits++
	}
	if digits == 0 || !extensions(line[digits:]) {
		return 0, errChunk
	}
	if f.most -= f.left; f.most < 0 {
		return 0, errBodyLong
	}
	if f.excess = max(0, f.excess+int64(end+1)-16-2*f.left); f.excess > maxExcess {
		return 0, errExcess
	}
	f.state = chunkData
	if f.left == 0 {
		f.state = trailerSection
	}
	return end + 1, nil
}

// extensions says whether b is a chunk-ext, RFC 9112 §7.1.1: names, some with a
// value. What is not is refused and not skipped: where we see an extension the
// next program may see the end of the line.
func extensions(b []byte) bool {
	for len(b) > 0 {
		b = trimLeft(b)
		if len(b) == 0 || b[0] != ';' {
			return false
		}
		b = trimLeft(b[1:])
		n := span(b, tokenByte)
		if n == 0 {
			return false
		}
		b = b[n:]
		if value := trimLeft(b); len(value) > 0 && value[0] == '=' {
			value = trimLeft(value[1:])
			if n = max(span(value, tokenByte), quotedSpan(value)); n == 0 {
				return false
			}
			b = value[n:]
		}
	}
	return true
}

// quotedSpan is the length of the quoted-string that b begins with, RFC 9110
// §5.6.4; 0 if it does not.
func quotedSpan(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for n := 1; n < len(b) && valueByte[b[n]]; n++ {
		switch {
		case b[n] == '"':
			return n + 1
		case b[n] == '\\' && n+1 < len(b) && valueByte[b[n+1]]:
			n++
		case b[n] == '\\':
			return 0
		}
	}
	return 0
}

func (f *framing) takeCRLF(b []byte) (int, *refusal) {
	if len(b) > 0 && b[0] != '\r' || len(b) > 1 && b[1] != '\n' {
		return 0, errChunk
	}
	if len(b) < 2 {
		return 0, nil
	}
	f.state = chunkSize
	return 2, nil
}

// takeTrailers reads the fields behind the last chunk. They are kept apart
// from the fields of the head: RFC 9110 §6.5.1 warns of merging them.
func (f *framing) takeTrailers(b []byte) (int, *refusal) {
	n := 2
	if len(b) < 2 || string(b[:2]) != "\r\n" {
		n = findHead(b, 0)
	}
	if n == 0 {
		return 0, hopelessTrailers(b, f.maxTrail)
	} else if n > f.maxTrail {
		return 0, hopelessTrailers(b[:n], f.maxTrail)
	}
	var refused *refusal
	if f.trailers, refused = parseFields(nil, bytes.Clone(b[:n]), maxTrailers); refused != nil {
		return 0, cmp.Or(early(b[:n], errField), refused)
	}
	f.state = bodyEnd
	return n, nil
}

const maxTrailers = 32 // fields

// hopelessTrailers is hopeless for fields that have no line before them.
func hopelessTrailers(b []byte, most int) *refusal {
	refused := early(b[:min(len(b), most)], errField)
	if refused == nil && len(b) >= most {
		return errHeadLong
	}
	return refused
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// A body is a request's body, read from its connection as the handler asks for
// it. A request with a body has the connection for itself, and its input too.
type body struct {
	framing
	x        *exchange
	expected bool     // the client waits for 100 Continue
	refused  *refusal // how the body failed; Read says it from then on
	since    int64    // the clock when the time limit began to run
	came     int      // bytes of content since then
}

func (b *body) Read(p []byte) (int, error) {
	in := &b.x.c.in
	for b.refused == nil && b.state != bodyEnd {
		piece, used, refused := b.take(in.bytes(), len(p))
		n := copy(p, piece)
		in.skip(used)
		b.progress(n)
		b.refused = refused
		if n > 0 || len(p) == 0 {
			return n, nil
		}
		if used == 0 && refused == nil {
			b.refused = b.x.c.t.fill(b)
		}
	}
	if b.refused != nil {
		return 0, b.refused
	}
	return 0, io.EOF
}

// progress renews the time limit for every pace bytes of content, not for every
// byte: one byte a second is no body. The lines between chunks are no content: a
// body of one byte a chunk would be granted 20 times its time.
func (b *body) progress(n int) {
	const pace = 16 << 10
	if b.came += n; b.came >= pace {
		b.came, b.since = 0, b.x.c.srv.clock.now()
	}
}

// all reads the whole body.
func (b *body) all() ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	return io.ReadAll(b)
}

// discard reads what the handler left of a short body, so that the next
// request can be found behind it. Of a long one nobody knows how much is to come.
func (b *body) discard() (ended bool) {
	if b == nil {
		return true
	}
	if b.expected || b.refused != nil { // who was not told to continue may send it or not
		return b.refused == nil && b.state == bodyEnd
	}
	if !b.chunked && b.left > maxDiscard {
		return false
	}
	n, err := io.CopyN(io.Discard, b, maxDiscard+1)
	return err == io.EOF && n <= maxDiscard
}
