package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// A heading is the head of an answer, taken apart. Its slices are parts of the
// bytes it was read from.
//
// parse is as strict as the server's parser: whoever takes a doubtful answer
// for a good one gives the next caller the rest of it. What it refuses ends the
// connection.
type heading struct {
	status int
	reason []byte // as in "Not Found"; means nothing to programs
	fields []field
	minor  int           // of HTTP/1.minor
	length int64         // of the body that follows: a number, chunked, or untilClose
	says   int64         // what Content-Length says, also in an answer to HEAD; untilClose without
	keep   time.Duration // how long the server keeps an idle connection; 0: it did not say

	lengths, codings int  // how often these fields came
	close, keepAlive bool // Connection: close, keep-alive
	bound            bool // the connection is a user's (bound.go)
}

const untilClose = -2 // as a length: the body ends with the connection

const maxAnswerFields = 200 // of one answer

// ErrBadAnswer is in every error that says: this is not HTTP/1.1, or it is not
// sure where it ends.
var ErrBadAnswer = errors.New("bad answer")

func badAnswer(why string) error { return fmt.Errorf("%w: %s", ErrBadAnswer, why) }

// parse reads a head that ends in an empty line, the answer to a request with
// method. It allocates nothing once h.fields has room.
func (h *heading) parse(head []byte, method []byte) error {
	*h = heading{fields: h.fields[:0], says: untilClose}
	rest, err := h.parseLine(head)
	if err != nil {
		return err
	}
	fields, refused := parseFields(h.fields, rest, maxAnswerFields)
	if h.fields = fields; refused != nil {
		return badAnswer(refused.why)
	}
	for i := range h.fields {
		if err := h.note(&h.fields[i]); err != nil {
			return err
		}
	}
	return h.frame(method)
}

// parseLine reads version SP status SP [ reason ] CRLF (RFC 9112 §4).
func (h *heading) parseLine(b []byte) (rest []byte, err error) {
	const least = len("HTTP/1.1 200 \r\n")
	if len(b) < least || string(b[:7]) != "HTTP/1." || !digit(b[7]) || b[8] != ' ' ||
		!digit(b[9]) || !digit(b[10]) || !digit(b[11]) || b[12] != ' ' {
		return nil, badAnswer("the status line is not: HTTP/1.1, space, three digits, space")
	}
	h.minor = min(int(b[7]-'0'), 1)
	h.status = int(b[9]-'0')*100 + int(b[10]-'0')*10 + int(b[11]-'0')
	if h.status < 100 || h.status > 599 {
		return nil, badAnswer("the status is not between 100 and 599")
	}
	b = b[13:]
	n := span(b, valueByte)
	if b[n] != '\r' || b[n+1] != '\n' {
		return nil, badAnswer("the status line ends in a bare CR or LF, or has a control character in it")
	}
	h.reason = b[:n]
	return b[n+2:], nil
}

// note looks at the fields that say where the answer ends and what becomes of
// the connection.
func (h *heading) note(f *field) error {
	switch len(f.name) { // most fields are passed over by their length
	case len("connection"): // keep-alive is as long
		if equalFold(f.name, "connection") {
			h.noteConnection(f.value)
		} else if equalFold(f.name, "keep-alive") {
			var told bool
			h.keep, told = keepAliveTimeout(f.value)
			h.close = h.close || told && h.keep == 0
		}
	case len("content-length"):
		if equalFold(f.name, "content-length") {
			n, ok := number(f.value)
			if h.lengths++; !ok || n == tooLarge || h.lengths > 1 {
				return badAnswer("Content-Length is not one number, or none that fits")
			}
			h.says = n
		}
	case len("www-authenticate"):
		h.bound = h.bound || equalFold(f.name, "www-authenticate") && binds(f.value)
	case len("proxy-authenticate"):
		h.bound = h.bound || equalFold(f.name, "proxy-authenticate") && binds(f.value)
	case len("transfer-encoding"):
		if equalFold(f.name, "transfer-encoding") {
			if h.codings++; h.codings > 1 || !equalFold(f.value, "chunked") {
				return badAnswer("of the transfer codings only chunked, once, is known")
			}
		}
	}
	return nil
}

func (h *heading) noteConnection(list []byte) {
	for option := range bytes.SplitSeq(list, []byte(",")) {
		option = trim(option)
		h.close = h.close || equalFold(option, "close")
		h.keepAlive = h.keepAlive || equalFold(option, "keep-alive")
	}
}

// frame finds out how the body ends: RFC 9112 §6.3, in its order.
func (h *heading) frame(method []byte) error {
	switch {
	case h.codings > 0 && h.lengths > 0:
		return badAnswer("Content-Length and Transfer-Encoding in one answer")
	case h.codings > 0 && h.minor == 0:
		return badAnswer("HTTP/1.0 has no Transfer-Encoding")
	case h.status == 101:
		return badAnswer("a change of protocol that nobody asked for")
	case h.status < 200 || h.status == 204:
		h.length = 0
		h.close = h.close || h.codings > 0 || h.says > 0 // a body that must not be: RFC 9110 §8.6
	case h.status == 304 || string(method) == "HEAD":
		h.length = 0
	case h.codings > 0:
		h.length = chunked
	default:
		h.length = h.says
	}
	return nil
}

// stays says whether the connection can be used again (RFC 9112 §9.3).
func (h *heading) stays() bool {
	return !h.close && !h.bound && (h.minor == 1 || h.keepAlive) && h.length != untilClose
}

// keepAliveTimeout reads timeout=5 out of "timeout=5, max=100". The field was
// never standardized; node, Apache and HttpComponents write it so.
// A timeout of 0 is no time at all: the connection is not for another call.
func keepAliveTimeout(list []byte) (keep time.Duration, told bool) {
	for parameter := range bytes.SplitSeq(list, []byte(",")) {
		name, value, _ := bytes.Cut(parameter, []byte("="))
		if seconds, ok := number(trim(value)); ok && equalFold(trim(name), "timeout") {
			return time.Duration(min(seconds, 1<<20)) * time.Second, true
		}
	}
	return 0, false
}

// idleEnd says whether this is what some servers say as they close an idle connection.
func (h *heading) idleEnd() bool { return h.status == 408 && h.close }
