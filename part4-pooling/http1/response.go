package http1

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// A ResponseHead is a parsed HTTP/1.x response head. Its slices are subslices of the
// bytes passed to Parse and valid only while those are. The zero value is ready for
// Parse, and may be reused.
//
// Parse is as strict as the request parser: a client that accepts an ambiguous
// response may hand the rest of it to its next request. After an error the client
// must close the connection.
type ResponseHead struct {
	Status           int    // 100 to 599
	Reason           []byte // the reason phrase, as in "Not Found"; may be empty
	Fields           []Field
	Minor            int           // the minor version: HTTP/1.0 or HTTP/1.1
	Length           int64         // of the body that follows, in bytes, or Chunked, or UntilClose
	ContentLength    int64         // the value of Content-Length, also in a response to HEAD; UntilClose if there is none
	KeepAliveTimeout time.Duration // how long the server keeps the connection idle; 0: it did not say

	lengthFields, codingFields int  // how often Content-Length and Transfer-Encoding occur
	options                    int  // members of Connection, in all of its fields
	close, keepAlive           bool // Connection: close, keep-alive
	ConnAuth                   bool // the response challenges with NTLM or Negotiate (connauth.go)
}

// UntilClose is the Length of a body that ends when the server closes the connection
// (RFC 9112 §6.3, the last rule).
const UntilClose = -2

const maxResponseFields = 200 // of one response

// ErrBadResponse is wrapped by every error for bytes that are not an HTTP/1.x
// response, or whose end is ambiguous.
var ErrBadResponse = errors.New("bad response")

// BadResponse returns an error that wraps ErrBadResponse and adds why.
func BadResponse(why string) error { return fmt.Errorf("%w: %s", ErrBadResponse, why) }

// Parse parses a complete response head, of the length that HeadLength returned.
// method is the method of the request: a response to HEAD has no body (RFC 9112
// §6.3). Every error wraps ErrBadResponse. Parse allocates nothing once h.Fields has
// the capacity.
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

// recordField evaluates the fields that decide where the response ends and whether
// the connection persists.
func (h *ResponseHead) recordField(f *Field) error {
	switch len(f.Name) { // the length alone rules out most fields
	case len("connection"): // and of keep-alive
		if EqualFold(f.Name, "connection") {
			h.options += countMembers(f.Value)
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
				return BadResponse("Content-Length is not one number, or does not fit")
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
				return BadResponse("Transfer-Encoding is not chunked, once")
			}
		}
	}
	return nil
}

// CheckOptions returns an error if Connection has more than maxOptions members. A gateway
// must not forward such a response. Parse does not refuse it, because its end is not
// ambiguous: closing the connection and dialling another would cost more than the head.
func (h *ResponseHead) CheckOptions() error {
	if h.options > maxOptions {
		return BadResponse(errTooManyOptions.Detail)
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

// setLength decides how the body ends, by the rules of RFC 9112 §6.3.
func (h *ResponseHead) setLength(method []byte) error {
	switch {
	case h.codingFields > 0 && h.lengthFields > 0:
		return BadResponse("Content-Length and Transfer-Encoding in one response")
	case h.codingFields > 0 && h.Minor == 0:
		return BadResponse("HTTP/1.0 has no Transfer-Encoding")
	case h.Status == 101:
		return BadResponse("a change of protocol that the client did not request")
	case h.Status < 200 || h.Status == 204:
		h.Length = 0
		h.close = h.close || h.codingFields > 0 || h.ContentLength > 0 // RFC 9110 §8.6 and RFC 9112 §6.1 forbid both: a body may follow all the same
	case h.Status == 304 || string(method) == "HEAD":
		h.Length = 0
	case h.codingFields > 0:
		h.Length = Chunked
	default:
		h.Length = h.ContentLength
	}
	return nil
}

// Persists reports whether the connection can carry another request once the body
// has been read (RFC 9112 §9.3). After NTLM or Negotiate it cannot (connauth.go).
func (h *ResponseHead) Persists() bool {
	return !h.close && !h.ConnAuth && (h.Minor == 1 || h.keepAlive) && h.Length != UntilClose
}

// parseKeepAlive returns the timeout in a list such as "timeout=5, max=100". No RFC
// defines the field; this is how Node.js and Apache httpd send it. A timeout of 0
// means that the server will not take another request.
func parseKeepAlive(list []byte) (keep time.Duration, told bool) {
	for parameter := range bytes.SplitSeq(list, []byte(",")) {
		name, value, _ := bytes.Cut(parameter, []byte("="))
		if seconds, ok := ParseNumber(TrimSpace(value)); ok && EqualFold(TrimSpace(name), "timeout") {
			return time.Duration(min(seconds, 1<<20)) * time.Second, true
		}
	}
	return 0, false
}

// IsIdleTimeout reports whether this is the 408 with Connection: close that some
// servers send before they close an idle connection. Such a response may arrive
// without a request.
func (h *ResponseHead) IsIdleTimeout() bool { return h.Status == 408 && h.close }
