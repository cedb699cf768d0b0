package http1

import (
	"bytes"
	"cmp"
)

const (
	maxChunkLine = 256      // bytes of a chunk's size and extensions; nobody needs more
	maxExcess    = 16 << 10 // bytes that all such lines of a body may have beyond what they are allowed for their data
)

var (
	errBodyLong  = &Refusal{413, "the body is too long"}
	ErrBodyEnded = &Refusal{400, "the connection ended inside the body"}
	errExcess    = &Refusal{400, "the chunks are made of extensions more than of data"}
	errChunk     = &Refusal{400, "a chunk is not: size in hexadecimal, CRLF, that many bytes, CRLF"}
)

// A Framing finds one body in the bytes that follow a head, and its end (RFC
// 9112 §6, §7.1). Bytes in, values out: it knows of no connection.
type Framing struct {
	left     int64 // of the body, or of the chunk
	chunked  bool
	State    chunkState
	most     int64   // bytes a body may have
	excess   int64   // bytes of chunk lines beyond what is allowed for them
	maxTrail int     // bytes of trailers
	Trailers []Field // the fields behind the body, once it has ended
}

// chunkState is what a chunked body must go on with.
type chunkState int

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd // the CRLF behind the data
	trailerSection
	BodyEnd
)

// NewFraming begins a body. length is what its head says, a number or chunked; a body
// of more than most bytes is refused, and so are trailers of more than maxTrail.
func NewFraming(length, most int64, maxTrail int) (Framing, *Refusal) {
	switch {
	case length > most:
		return Framing{}, errBodyLong
	case length == Chunked:
		return Framing{chunked: true, most: most, maxTrail: maxTrail}, nil
	case length == 0:
		return Framing{State: BodyEnd}, nil
	}
	return Framing{State: chunkData, left: length}, nil
}

// Take returns the piece of the body that b begins with, room bytes of it at
// most, and how many bytes of b it used up. When it uses none, it needs more
// than b. The piece is a part of b.
func (f *Framing) Take(b []byte, room int) (piece []byte, used int, refused *Refusal) {
	for refused == nil && f.State != BodyEnd && len(piece) == 0 {
		var n int
		rest := b[used:]
		switch f.State {
		case chunkData:
			n = int(min(f.left, int64(min(len(rest), room))))
			piece = rest[:n]
			if f.left -= int64(n); f.left == 0 {
				f.State = chunkEnd
				if !f.chunked {
					f.State = BodyEnd
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
func (f *Framing) takeSize(b []byte) (int, *Refusal) {
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
	for digits < len(line) && HexDigit(line[digits]) >= 0 {
		if f.left>>56 != 0 { // more than 60 bits would overflow, and wrap to a small number; zeros before it do not
			return 0, errBodyLong
		}
		f.left = f.left<<4 | int64(HexDigit(line[digits]))
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
	f.State = chunkData
	if f.left == 0 {
		f.State = trailerSection
	}
	return end + 1, nil
}

// extensions says whether b is a chunk-ext, RFC 9112 §7.1.1: names, some with a
// value. What is not is refused and not skipped: where we see an extension the
// next program may see the end of the line.
func extensions(b []byte) bool {
	for len(b) > 0 {
		b = TrimLeft(b)
		if len(b) == 0 || b[0] != ';' {
			return false
		}
		b = TrimLeft(b[1:])
		n := Span(b, TokenByte)
		if n == 0 {
			return false
		}
		b = b[n:]
		if value := TrimLeft(b); len(value) > 0 && value[0] == '=' {
			value = TrimLeft(value[1:])
			if n = max(Span(value, TokenByte), quotedSpan(value)); n == 0 {
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

func (f *Framing) takeCRLF(b []byte) (int, *Refusal) {
	if len(b) > 0 && b[0] != '\r' || len(b) > 1 && b[1] != '\n' {
		return 0, errChunk
	}
	if len(b) < 2 {
		return 0, nil
	}
	f.State = chunkSize
	return 2, nil
}

// takeTrailers reads the fields behind the last chunk. They are kept apart
// from the fields of the head: RFC 9110 §6.5.1 warns of merging them.
func (f *Framing) takeTrailers(b []byte) (int, *Refusal) {
	n := 2
	if len(b) < 2 || string(b[:2]) != "\r\n" {
		n = FindHead(b, 0)
	}
	if n == 0 {
		return 0, hopelessTrailers(b, f.maxTrail)
	} else if n > f.maxTrail {
		return 0, hopelessTrailers(b[:n], f.maxTrail)
	}
	var refused *Refusal
	if f.Trailers, refused = parseFields(nil, bytes.Clone(b[:n]), maxTrailers); refused != nil {
		return 0, cmp.Or(early(b[:n], errField), refused)
	}
	f.State = BodyEnd
	return n, nil
}

const maxTrailers = 32 // fields

// Ended says whether the body has been taken to its end.
func (f *Framing) Ended() bool { return f.State == BodyEnd }

// Remaining is how many bytes of the body are still to come, as far as its head, or
// that of its chunk, has told.
func (f *Framing) Remaining() int64 { return f.left }

// hopelessTrailers is hopeless for fields that have no line before them.
func hopelessTrailers(b []byte, most int) *Refusal {
	refused := early(b[:min(len(b), most)], errField)
	if refused == nil && len(b) >= most {
		return errHeadLong
	}
	return refused
}

func HexDigit(c byte) int {
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
