package http1

import (
	"bytes"
	"cmp"
)

const (
	maxChunkLine     = 256      // bytes of one chunk's size and extensions; real clients send fewer than 20
	maxChunkOverhead = 16 << 10 // bytes by which all the chunk lines of a body may exceed the allowance for its data (nextChunkSize)
)

var (
	errBodyTooLong   = &StatusError{413, "the body is too long"}
	errChunkOverhead = &StatusError{400, "the chunks hold more extensions than data"}
	errChunk         = &StatusError{400, "a chunk is not: size in hexadecimal, CRLF, that many bytes, CRLF"}

	// ErrBodyTruncated is the error of a body whose connection ended first. A
	// BodyDecoder sees no connection and never returns it; the reader of the
	// connection does, if it meets the end of input while AtEnd is false.
	ErrBodyTruncated = &StatusError{400, "the connection ended inside the body"}
)

// A BodyDecoder finds one body, and its end, in the bytes that follow a head (RFC
// 9112 §6, §7.1). It reads from no connection: the caller feeds it bytes with
// Decode. Make one with NewBodyDecoder for each message.
type BodyDecoder struct {
	remaining    int64 // bytes of the body, or of the current chunk, that have not been decoded
	chunked      bool
	state        chunkState // what the next byte belongs to
	budget       int64      // bytes of data that later chunks may still have
	overhead     int64      // bytes of chunk lines beyond the allowance for their data
	trailerLimit int        // bytes of the trailer section
	scanned      int        // bytes already searched that hold no complete trailer section
	Trailers     []Field    // the trailer fields, set when AtEnd; a copy that the caller may keep
}

// chunkState is the part of the body that comes next.
type chunkState int

const (
	chunkSize chunkState = iota
	chunkData
	chunkDataEnd // the CRLF after the data
	trailerSection
	bodyEnd // the body is complete: Decode uses no more bytes
)

// NewBodyDecoder returns the decoder of one body. length is the Length of its head:
// a number of bytes, or Chunked; a body that ends with its connection is given the
// largest length. A body of more than maxBody bytes, without chunk lines, fails with
// status 413: here if the length says so, otherwise in Decode. A trailer section of
// more than maxTrailer bytes makes Decode fail with 431.
func NewBodyDecoder(length, maxBody int64, maxTrailer int) (BodyDecoder, *StatusError) {
	switch {
	case length > maxBody:
		return BodyDecoder{}, errBodyTooLong
	case length == Chunked:
		return BodyDecoder{chunked: true, budget: maxBody, trailerLimit: maxTrailer}, nil
	case length == 0:
		return BodyDecoder{state: bodyEnd}, nil
	}
	return BodyDecoder{state: chunkData, remaining: length}, nil
}

// Decode returns the next piece of the body, of at most room bytes, and how many
// bytes of b it used. The caller drops the used bytes and passes the rest again,
// until AtEnd. If used is 0, the decoder needs more bytes than b holds. The piece is
// a subslice of b, valid for as long as b is. After an error the decoder is of no
// further use, and neither is the connection: where the next message begins is
// unknown.
func (d *BodyDecoder) Decode(b []byte, room int) (piece []byte, used int, refused *StatusError) {
	for refused == nil && d.state != bodyEnd && len(piece) == 0 {
		var n int
		rest := b[used:]
		switch d.state {
		case chunkData:
			n = int(min(d.remaining, int64(min(len(rest), room))))
			piece = rest[:n]
			if d.remaining -= int64(n); d.remaining == 0 {
				d.state = chunkDataEnd
				if !d.chunked {
					d.state = bodyEnd
				}
			}
		case chunkSize:
			n, refused = d.nextChunkSize(rest)
		case chunkDataEnd:
			n, refused = d.nextChunkEnd(rest)
		case trailerSection:
			n, refused = d.nextTrailers(rest)
		}
		if n == 0 {
			break
		}
		used += n
	}
	return piece, used, refused
}

// nextChunkSize reads chunk-size [ chunk-ext ] CRLF. Extensions are ignored, but
// they have to be read: if only each line were bounded, a body of 8 MiB in chunks of
// one byte could be 2 GiB on the wire. Each chunk is allowed 16 bytes of line plus
// twice its data, as in net/http; what exceeds that adds up in overhead.
func (d *BodyDecoder) nextChunkSize(b []byte) (int, *StatusError) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 && len(b) < maxChunkLine {
		return 0, nil
	}
	if end < 1 || end >= maxChunkLine || b[end-1] != '\r' {
		return 0, errChunk
	}
	line := b[:end-1]
	digits := 0
	d.remaining = 0
	for digits < len(line) && HexValue(line[digits]) >= 0 {
		if d.remaining>>56 != 0 { // a shift beyond 60 bits could wrap to a small number; leading zeros cannot
			return 0, errBodyTooLong
		}
		d.remaining = d.remaining<<4 | int64(HexValue(line[digits]))
		digits++
	}
	if digits == 0 || !validChunkExtensions(line[digits:]) {
		return 0, errChunk
	}
	if d.budget -= d.remaining; d.budget < 0 {
		return 0, errBodyTooLong
	}
	if d.overhead = max(0, d.overhead+int64(end+1)-16-2*d.remaining); d.overhead > maxChunkOverhead {
		return 0, errChunkOverhead
	}
	d.state = chunkData
	if d.remaining == 0 {
		d.state = trailerSection
	}
	return end + 1, nil
}

// validChunkExtensions reports whether b is a chunk-ext (RFC 9112 §7.1.1): names,
// some with a value. The decoder refuses anything else instead of skipping it: where
// this parser sees an extension, the next program may see the end of the line.
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

// nextChunkEnd reads the CRLF after a chunk's data.
func (d *BodyDecoder) nextChunkEnd(b []byte) (int, *StatusError) {
	if len(b) > 0 && b[0] != '\r' || len(b) > 1 && b[1] != '\n' {
		return 0, errChunk
	}
	if len(b) < 2 {
		return 0, nil
	}
	d.state = chunkSize
	return 2, nil
}

// nextTrailers reads the trailer fields and the empty line after them. They stay
// separate from the fields of the head: RFC 9110 §6.5.1 warns against merging them.
func (d *BodyDecoder) nextTrailers(b []byte) (int, *StatusError) {
	n := 2
	if len(b) < 2 || string(b[:2]) != "\r\n" {
		n = HeadLength(b, d.scanned)
	}
	if n == 0 {
		from := d.scanned
		d.scanned = len(b)
		return 0, checkPartialTrailers(b, from, d.trailerLimit)
	} else if n > d.trailerLimit {
		return 0, checkPartialTrailers(b[:n], 0, d.trailerLimit)
	}
	var refused *StatusError
	if d.Trailers, refused = parseFields(nil, bytes.Clone(b[:n]), maxTrailerFields); refused != nil {
		return 0, cmp.Or(checkPrefix(b[:n], 0, errFieldLine), refused)
	}
	d.state = bodyEnd
	return n, nil
}

const maxTrailerFields = 32 // fields

// AtEnd reports whether the body is complete and all of it has been decoded.
func (d *BodyDecoder) AtEnd() bool { return d.state == bodyEnd }

// BytesRemaining returns how many bytes are still to come of a body with a
// Content-Length, or of the current chunk of a chunked body.
func (d *BodyDecoder) BytesRemaining() int64 { return d.remaining }

// checkPartialTrailers is CheckPartialHead for a trailer section, which begins with
// a field line instead of a request line.
func checkPartialTrailers(b []byte, from, maxTrailer int) *StatusError {
	refused := checkPrefix(b[:min(len(b), maxTrailer)], from, errFieldLine)
	if refused == nil && len(b) >= maxTrailer {
		return errHeadTooLong
	}
	return refused
}
