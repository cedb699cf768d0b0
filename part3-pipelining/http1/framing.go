package http1

import (
	"bytes"
	"cmp"
)

const (
	maxChunkLine     = 256      // bytes of a chunk's size and extensions; nobody needs more
	maxChunkOverhead = 16 << 10 // bytes that all such lines of a body may have beyond what they are allowed for their data
)

var (
	errBodyTooLong   = &StatusError{413, "the body is too long"}
	ErrBodyTruncated = &StatusError{400, "the connection ended inside the body"}
	errChunkOverhead = &StatusError{400, "the chunks are made of extensions more than of data"}
	errChunk         = &StatusError{400, "a chunk is not: size in hexadecimal, CRLF, that many bytes, CRLF"}
)

// A BodyDecoder finds one body in the bytes that follow a head, and its end (RFC
// 9112 §6, §7.1). Bytes in, values out: it knows of no connection.
type BodyDecoder struct {
	remaining    int64 // of the body, or of the chunk
	chunked      bool
	State        chunkState
	budget       int64   // bytes a body may have
	overhead     int64   // bytes of chunk lines beyond what is allowed for them
	trailerLimit int     // bytes of trailers
	scanned      int     // bytes of trailers that came and are not all
	Trailers     []Field // the fields behind the body, once it has ended
}

// chunkState is what a chunked body must go on with.
type chunkState int

const (
	chunkSize chunkState = iota
	chunkData
	chunkDataEnd // the CRLF behind the data
	trailerSection
	BodyEnd
)

// NewBodyDecoder begins a body. length is what its head says, a number or chunked; a body
// of more than most bytes is refused, and so are trailers of more than trailerLimit.
func NewBodyDecoder(length, most int64, maxTrail int) (BodyDecoder, *StatusError) {
	switch {
	case length > most:
		return BodyDecoder{}, errBodyTooLong
	case length == Chunked:
		return BodyDecoder{chunked: true, budget: most, trailerLimit: maxTrail}, nil
	case length == 0:
		return BodyDecoder{State: BodyEnd}, nil
	}
	return BodyDecoder{State: chunkData, remaining: length}, nil
}

// Decode returns the piece of the body that b begins with, room bytes of it at
// most, and how many bytes of b it used up. When it uses none, it needs more
// than b. The piece is a part of b.
func (f *BodyDecoder) Decode(b []byte, room int) (piece []byte, used int, refused *StatusError) {
	for refused == nil && f.State != BodyEnd && len(piece) == 0 {
		var n int
		rest := b[used:]
		switch f.State {
		case chunkData:
			n = int(min(f.remaining, int64(min(len(rest), room))))
			piece = rest[:n]
			if f.remaining -= int64(n); f.remaining == 0 {
				f.State = chunkDataEnd
				if !f.chunked {
					f.State = BodyEnd
				}
			}
		case chunkSize:
			n, refused = f.nextChunkSize(rest)
		case chunkDataEnd:
			n, refused = f.nextChunkEnd(rest)
		case trailerSection:
			n, refused = f.nextTrailers(rest)
		}
		if n == 0 {
			break
		}
		used += n
	}
	return piece, used, refused
}

// nextChunkSize reads chunk-size [ chunk-ext ] CRLF. Extensions mean nothing to us, but
// they are read: without a bound on all of them, 8 MiB in chunks of one byte are
// 2 GiB to take in. A chunk is allowed 16 bytes and twice its data, as in net/http.
func (f *BodyDecoder) nextChunkSize(b []byte) (int, *StatusError) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 && len(b) < maxChunkLine {
		return 0, nil
	}
	if end < 1 || end >= maxChunkLine || b[end-1] != '\r' {
		return 0, errChunk
	}
	line := b[:end-1]
	digits := 0
	f.remaining = 0
	for digits < len(line) && HexValue(line[digits]) >= 0 {
		if f.remaining>>56 != 0 { // more than 60 bits would overflow, and wrap to a small number; zeros before it do not
			return 0, errBodyTooLong
		}
		f.remaining = f.remaining<<4 | int64(HexValue(line[digits]))
		digits++
	}
	if digits == 0 || !validChunkExtensions(line[digits:]) {
		return 0, errChunk
	}
	if f.budget -= f.remaining; f.budget < 0 {
		return 0, errBodyTooLong
	}
	if f.overhead = max(0, f.overhead+int64(end+1)-16-2*f.remaining); f.overhead > maxChunkOverhead {
		return 0, errChunkOverhead
	}
	f.State = chunkData
	if f.remaining == 0 {
		f.State = trailerSection
	}
	return end + 1, nil
}

// validChunkExtensions says whether b is a chunk-ext, RFC 9112 §7.1.1: names, some with a
// value. What is not is refused and not skipped: where we see an extension the
// next program may see the end of the line.
func validChunkExtensions(b []byte) bool {
	for len(b) > 0 {
		b = TrimLeadingSpace(b)
		if len(b) == 0 || b[0] != ';' {
			return false
		}
		b = TrimLeadingSpace(b[1:])
		n := Span(b, TokenByte)
		if n == 0 {
			return false
		}
		b = b[n:]
		if value := TrimLeadingSpace(b); len(value) > 0 && value[0] == '=' {
			value = TrimLeadingSpace(value[1:])
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

func (f *BodyDecoder) nextChunkEnd(b []byte) (int, *StatusError) {
	if len(b) > 0 && b[0] != '\r' || len(b) > 1 && b[1] != '\n' {
		return 0, errChunk
	}
	if len(b) < 2 {
		return 0, nil
	}
	f.State = chunkSize
	return 2, nil
}

// nextTrailers reads the fields behind the last chunk. They are kept apart
// from the fields of the head: RFC 9110 §6.5.1 warns of merging them.
func (f *BodyDecoder) nextTrailers(b []byte) (int, *StatusError) {
	n := 2
	if len(b) < 2 || string(b[:2]) != "\r\n" {
		n = HeadLength(b, f.scanned)
	}
	if n == 0 {
		from := f.scanned
		f.scanned = len(b)
		return 0, checkPartialTrailers(b, from, f.trailerLimit)
	} else if n > f.trailerLimit {
		return 0, checkPartialTrailers(b[:n], 0, f.trailerLimit)
	}
	var refused *StatusError
	if f.Trailers, refused = parseFields(nil, bytes.Clone(b[:n]), maxTrailerFields); refused != nil {
		return 0, cmp.Or(checkPrefix(b[:n], 0, errFieldLine), refused)
	}
	f.State = BodyEnd
	return n, nil
}

const maxTrailerFields = 32 // fields

// AtEnd says whether the body has been taken to its end.
func (f *BodyDecoder) AtEnd() bool { return f.State == BodyEnd }

// BytesRemaining is how many bytes of the body are still to come, as far as its head, or
// that of its chunk, has told.
func (f *BodyDecoder) BytesRemaining() int64 { return f.remaining }

// checkPartialTrailers is hopeless for fields that have no line before them.
func checkPartialTrailers(b []byte, from, most int) *StatusError {
	refused := checkPrefix(b[:min(len(b), most)], from, errFieldLine)
	if refused == nil && len(b) >= most {
		return errHeadTooLong
	}
	return refused
}

func HexValue(c byte) int {
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
