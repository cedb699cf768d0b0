package http1

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// A Heading is the head of an answer, taken apart. Its slices are parts of the
// bytes it was read from.
//
// parse is as strict as the server's parser: whoever takes a doubtful answer
// for a good one gives the next caller the rest of it. What it refuses ends the
// connection.
type Heading struct {
	Status int
	Reason []byte // as in "Not Found"; means nothing to programs
	Fields []Field
	Minor  int           // of HTTP/1.minor
	Length int64         // of the body that follows: a number, chunked, or UntilClose
	Says   int64         // what Content-Length says, also in an answer to HEAD; UntilClose without
	Keep   time.Duration // how long the server keeps an idle connection; 0: it did not say

	lengths, codings int  // how often these fields came
	close, keepAlive bool // Connection: close, keep-alive
	Bound            bool // the connection is a user's (bound.go)
}

const UntilClose = -2 // as a length: the body ends with the connection

const maxAnswerFields = 200 // of one answer

// ErrBadAnswer is in every error that says: this is not HTTP/1.1, or it is not
// sure where it ends.
var ErrBadAnswer = errors.New("bad answer")

func BadAnswer(why string) error { return fmt.Errorf("%w: %s", ErrBadAnswer, why) }

// Parse reads a head that ends in an empty line, the answer to a request with
// method. It allocates nothing once h.fields has room.
func (h *Heading) Parse(head []byte, method []byte) error {
	*h = Heading{Fields: h.Fields[:0], Says: UntilClose}
	rest, err := h.parseLine(head)
	if err != nil {
		return err
	}
	fields, refused := parseFields(h.Fields, rest, maxAnswerFields)
	if h.Fields = fields; refused != nil {
		return BadAnswer(refused.Reason)
	}
	for i := range h.Fields {
		if err := h.note(&h.Fields[i]); err != nil {
			return err
		}
	}
	return h.frame(method)
}

// parseLine reads version SP status SP [ reason ] CRLF (RFC 9112 §4).
func (h *Heading) parseLine(b []byte) (rest []byte, err error) {
	const least = len("HTTP/1.1 200 \r\n")
	if len(b) < least || string(b[:7]) != "HTTP/1." || !digit(b[7]) || b[8] != ' ' ||
		!digit(b[9]) || !digit(b[10]) || !digit(b[11]) || b[12] != ' ' {
		return nil, BadAnswer("the status line is not: HTTP/1.1, space, three digits, space")
	}
	h.Minor = min(int(b[7]-'0'), 1)
	h.Status = int(b[9]-'0')*100 + int(b[10]-'0')*10 + int(b[11]-'0')
	if h.Status < 100 || h.Status > 599 {
		return nil, BadAnswer("the status is not between 100 and 599")
	}
	b = b[13:]
	n := Span(b, valueByte)
	if b[n] != '\r' || b[n+1] != '\n' {
		return nil, BadAnswer("the status line ends in a bare CR or LF, or has a control character in it")
	}
	h.Reason = b[:n]
	return b[n+2:], nil
}

// note looks at the fields that say where the answer ends and what becomes of
// the connection.
func (h *Heading) note(f *Field) error {
	switch len(f.Name) { // most fields are passed over by their length
	case len("connection"): // keep-alive is as long
		if EqualFold(f.Name, "connection") {
			h.noteConnection(f.Value)
		} else if EqualFold(f.Name, "keep-alive") {
			var told bool
			h.Keep, told = keepAliveTimeout(f.Value)
			h.close = h.close || told && h.Keep == 0
		}
	case len("content-length"):
		if EqualFold(f.Name, "content-length") {
			n, ok := ParseNumber(f.Value)
			if h.lengths++; !ok || n == TooLarge || h.lengths > 1 {
				return BadAnswer("Content-Length is not one number, or none that fits")
			}
			h.Says = n
		}
	case len("www-authenticate"):
		h.Bound = h.Bound || EqualFold(f.Name, "www-authenticate") && Binds(f.Value)
	case len("proxy-authenticate"):
		h.Bound = h.Bound || EqualFold(f.Name, "proxy-authenticate") && Binds(f.Value)
	case len("transfer-encoding"):
		if EqualFold(f.Name, "transfer-encoding") {
			if h.codings++; h.codings > 1 || !EqualFold(f.Value, "chunked") {
				return BadAnswer("of the transfer codings only chunked, once, is known")
			}
		}
	}
	return nil
}

func (h *Heading) noteConnection(list []byte) {
	for option := range bytes.SplitSeq(list, []byte(",")) {
		option = TrimSpace(option)
		h.close = h.close || EqualFold(option, "close")
		h.keepAlive = h.keepAlive || EqualFold(option, "keep-alive")
	}
}

// frame finds out how the body ends: RFC 9112 §6.3, in its order.
func (h *Heading) frame(method []byte) error {
	switch {
	case h.codings > 0 && h.lengths > 0:
		return BadAnswer("Content-Length and Transfer-Encoding in one answer")
	case h.codings > 0 && h.Minor == 0:
		return BadAnswer("HTTP/1.0 has no Transfer-Encoding")
	case h.Status == 101:
		return BadAnswer("a change of protocol that nobody asked for")
	case h.Status < 200 || h.Status == 204:
		h.Length = 0
		h.close = h.close || h.codings > 0 || h.Says > 0 // a body that must not be: RFC 9110 §8.6
	case h.Status == 304 || string(method) == "HEAD":
		h.Length = 0
	case h.codings > 0:
		h.Length = Chunked
	default:
		h.Length = h.Says
	}
	return nil
}

// Stays says whether the connection can be used again (RFC 9112 §9.3).
func (h *Heading) Stays() bool {
	return !h.close && !h.Bound && (h.Minor == 1 || h.keepAlive) && h.Length != UntilClose
}

// keepAliveTimeout reads timeout=5 out of "timeout=5, max=100". The field was
// never standardized; node, Apache and HttpComponents write it so.
// A timeout of 0 is no time at all: the connection is not for another call.
func keepAliveTimeout(list []byte) (keep time.Duration, told bool) {
	for parameter := range bytes.SplitSeq(list, []byte(",")) {
		name, value, _ := bytes.Cut(parameter, []byte("="))
		if seconds, ok := ParseNumber(TrimSpace(value)); ok && EqualFold(TrimSpace(name), "timeout") {
			return time.Duration(min(seconds, 1<<20)) * time.Second, true
		}
	}
	return 0, false
}

// IdleEnd says whether this is what some servers say as they close an idle connection.
func (h *Heading) IdleEnd() bool { return h.Status == 408 && h.close }
