package http1

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// A ResponseHead is the head of a response, taken apart. Its slices are parts of the
// bytes it was read from.
//
// parse is as strict as the server's parser: whoever takes a ambiguous response
// for a good one gives the next caller the rest of it. What it refuses ends the
// connection.
type ResponseHead struct {
	Status           int
	Reason           []byte // as in "Not Found"; means nothing to programs
	Fields           []Field
	Minor            int           // of HTTP/1.minor
	Length           int64         // of the body that follows: a number, chunked, or UntilClose
	ContentLength    int64         // what Content-Length says, also in a response to HEAD; UntilClose without
	KeepAliveTimeout time.Duration // how long the server keeps an idle connection; 0: it did not say

	lengthFields, codingFields int  // how often these fields came
	options                    int  // members of Connection, in all of its fields
	close, keepAlive           bool // Connection: close, keep-alive
	ConnAuth                   bool // the connection is a user's (connauth.go)
}

const UntilClose = -2 // as a length: the body ends with the connection

const maxResponseFields = 200 // of one response

// ErrBadResponse is in every error that says: this is not HTTP/1.1, or it is not
// sure where it ends.
var ErrBadResponse = errors.New("bad answer")

func BadResponse(why string) error { return fmt.Errorf("%w: %s", ErrBadResponse, why) }

// Parse reads a head that ends in an empty line, the response to a request with
// method. It allocates nothing once h.fields has room.
func (h *ResponseHead) Parse(head []byte, method []byte) error {
	*h = ResponseHead{Fields: h.Fields[:0], ContentLength: UntilClose}
	rest, err := h.parseStatusLine(head)
	if err != nil {
		return err
	}
	fields, refused := parseFields(h.Fields, rest, maxResponseFields)
	if h.Fields = fields; refused != nil {
		return BadResponse(refused.Detail)
	}
	for i := range h.Fields {
		if err := h.recordField(&h.Fields[i]); err != nil {
			return err
		}
	}
	return h.setLength(method)
}

// parseStatusLine reads version SP status SP [ reason ] CRLF (RFC 9112 §4).
func (h *ResponseHead) parseStatusLine(b []byte) (rest []byte, err error) {
	const least = len("HTTP/1.1 200 \r\n")
	if len(b) < least || string(b[:7]) != "HTTP/1." || !isDigit(b[7]) || b[8] != ' ' ||
		!isDigit(b[9]) || !isDigit(b[10]) || !isDigit(b[11]) || b[12] != ' ' {
		return nil, BadResponse("the status line is not: HTTP/1.1, space, three digits, space")
	}
	h.Minor = min(int(b[7]-'0'), 1)
	h.Status = int(b[9]-'0')*100 + int(b[10]-'0')*10 + int(b[11]-'0')
	if h.Status < 100 || h.Status > 599 {
		return nil, BadResponse("the status is not between 100 and 599")
	}
	b = b[13:]
	n := Span(b, valueByte)
	if b[n] != '\r' || b[n+1] != '\n' {
		return nil, BadResponse("the status line ends in a bare CR or LF, or has a control character in it")
	}
	h.Reason = b[:n]
	return b[n+2:], nil
}

// recordField looks at the fields that say where the response ends and what becomes of
// the connection.
func (h *ResponseHead) recordField(f *Field) error {
	switch len(f.Name) { // most fields are passed over by their length
	case len("connection"): // keep-alive is as long
		if EqualFold(f.Name, "connection") {
			if h.options += countMembers(f.Value); h.options > maxOptions {
				return BadResponse(errTooManyOptions.Detail)
			}
			h.parseConnection(f.Value)
		} else if EqualFold(f.Name, "keep-alive") {
			var told bool
			h.KeepAliveTimeout, told = parseKeepAlive(f.Value)
			h.close = h.close || told && h.KeepAliveTimeout == 0
		}
	case len("content-length"):
		if EqualFold(f.Name, "content-length") {
			n, ok := ParseNumber(f.Value)
			if h.lengthFields++; !ok || n == MaxNumber || h.lengthFields > 1 {
				return BadResponse("Content-Length is not one number, or none that fits")
			}
			h.ContentLength = n
		}
	case len("www-authenticate"):
		h.ConnAuth = h.ConnAuth || EqualFold(f.Name, "www-authenticate") && IsConnAuth(f.Value)
	case len("proxy-authenticate"):
		h.ConnAuth = h.ConnAuth || EqualFold(f.Name, "proxy-authenticate") && IsConnAuth(f.Value)
	case len("transfer-encoding"):
		if EqualFold(f.Name, "transfer-encoding") {
			if h.codingFields++; h.codingFields > 1 || !EqualFold(f.Value, "chunked") {
				return BadResponse("of the transfer codings only chunked, once, is known")
			}
		}
	}
	return nil
}

func (h *ResponseHead) parseConnection(list []byte) {
	for option := range bytes.SplitSeq(list, []byte(",")) {
		option = TrimSpace(option)
		h.close = h.close || EqualFold(option, "close")
		h.keepAlive = h.keepAlive || EqualFold(option, "keep-alive")
	}
}

// setLength finds out how the body ends: RFC 9112 §6.3, in its order.
func (h *ResponseHead) setLength(method []byte) error {
	switch {
	case h.codingFields > 0 && h.lengthFields > 0:
		return BadResponse("Content-Length and Transfer-Encoding in one answer")
	case h.codingFields > 0 && h.Minor == 0:
		return BadResponse("HTTP/1.0 has no Transfer-Encoding")
	case h.Status == 101:
		return BadResponse("a change of protocol that nobody asked for")
	case h.Status < 200 || h.Status == 204:
		h.Length = 0
		h.close = h.close || h.codingFields > 0 || h.ContentLength > 0 // a body that must not be: RFC 9110 §8.6
	case h.Status == 304 || string(method) == "HEAD":
		h.Length = 0
	case h.codingFields > 0:
		h.Length = Chunked
	default:
		h.Length = h.ContentLength
	}
	return nil
}

// Persists says whether the connection can be used again (RFC 9112 §9.3).
func (h *ResponseHead) Persists() bool {
	return !h.close && !h.ConnAuth && (h.Minor == 1 || h.keepAlive) && h.Length != UntilClose
}

// parseKeepAlive reads timeout=5 out of "timeout=5, max=100". The field was
// never standardized; node, Apache and HttpComponents write it so.
// A timeout of 0 is no time at all: the connection is not for another call.
func parseKeepAlive(list []byte) (keep time.Duration, told bool) {
	for parameter := range bytes.SplitSeq(list, []byte(",")) {
		name, value, _ := bytes.Cut(parameter, []byte("="))
		if seconds, ok := ParseNumber(TrimSpace(value)); ok && EqualFold(TrimSpace(name), "timeout") {
			return time.Duration(min(seconds, 1<<20)) * time.Second, true
		}
	}
	return 0, false
}

// IsIdleTimeout says whether this is what some servers say as they close an idle connection.
func (h *ResponseHead) IsIdleTimeout() bool { return h.Status == 408 && h.close }
