package http2

import (
	"bytes"

	"socketup/part4-pooling/http1"
)

// maxFields bounds the fields of one response, as http1 does.
const maxFields = 200

// nameByte is the bytes of a field name: those of a token, but no upper case (RFC 9113
// §8.2.1).
var nameByte = lowerTokenByte()

func lowerTokenByte() *http1.ByteSet {
	s := *http1.TokenByte
	for c := 'A'; c <= 'Z'; c++ {
		s[c] = false
	}
	return &s
}

// ParseResponseHead sets h from fields, the decoded fields of a response head, as
// http1 sets it from the bytes of one. h.Fields is the part of fields after the
// pseudo-field; Minor is 1, and there is no Reason. Length is of the body in the DATA
// frames: the Content-Length; 0 for an interim response (1xx), 204, 304 and, with
// toHEAD, in response to HEAD; http1.Chunked if only END_STREAM tells. The caller
// compares it with what arrives (RFC 9113 §8.1.1).
//
// An error means that the response is malformed (§8.2, §8.3), which spoils its stream
// and not the connection. It wraps http1.ErrBadResponse. ParseResponseHead allocates
// nothing otherwise.
func ParseResponseHead(h *http1.ResponseHead, fields []http1.Field, toHEAD bool) error {
	*h = http1.ResponseHead{Minor: 1, ContentLength: http1.UntilClose}
	if len(fields) == 0 || string(fields[0].Name) != ":status" {
		return http1.BadResponse("the head does not begin with :status")
	}
	var ok bool
	if h.Status, ok = parseStatus(fields[0].Value); !ok {
		return http1.BadResponse(":status is not a number from 100 to 599, or is 101")
	}
	h.Fields = fields[1:]
	if err := checkFields(h.Fields); err != nil {
		return err
	}
	for _, f := range h.Fields {
		if string(f.Name) == "content-length" {
			if err := recordLength(h, f.Value); err != nil {
				return err
			}
		}
	}
	h.Length = bodyLength(h, toHEAD)
	return nil
}

// ParseTrailers checks fields, the decoded fields of a trailer section: they are
// fields of a head without pseudo-fields (RFC 9113 §8.1). The error wraps
// http1.ErrBadResponse.
func ParseTrailers(fields []http1.Field) error { return checkFields(fields) }

// parseStatus parses three digits. 101 does not exist in HTTP/2 (RFC 9113 §8.6).
func parseStatus(b []byte) (status int, ok bool) {
	n, ok := http1.ParseNumber(b)
	return int(n), ok && len(b) == 3 && 100 <= n && n <= 599 && n != 101
}

// checkFields checks what makes a message malformed in any of its fields (RFC 9113
// §8.2). A pseudo-field is one whose name begins with a colon, which no token does.
func checkFields(fields []http1.Field) error {
	if len(fields) > maxFields {
		return http1.BadResponse("there are too many fields")
	}
	for _, f := range fields {
		switch {
		case len(f.Name) == 0 || http1.Span(f.Name, nameByte) < len(f.Name):
			return badName(f.Name)
		case !http1.IsValue(f.Value):
			return http1.BadResponse("a field's value has a control character, or white space around it")
		case isConnectionField(f.Name):
			return http1.BadResponse("the field " + string(f.Name) + " is for HTTP/1.1 alone")
		}
	}
	return nil
}

func badName(name []byte) error {
	if bytes.HasPrefix(name, []byte(":")) {
		return http1.BadResponse("a pseudo-field other than :status, or not in front")
	}
	return http1.BadResponse("a field's name is not a token in lower case")
}

// recordLength sets h.ContentLength, once.
func recordLength(h *http1.ResponseHead, value []byte) error {
	n, ok := http1.ParseNumber(value)
	if !ok || n == http1.MaxNumber || h.ContentLength != http1.UntilClose {
		return http1.BadResponse("Content-Length is not one number, or does not fit")
	}
	h.ContentLength = n
	return nil
}

// bodyLength decides how many bytes of DATA a response has (RFC 9110 §6.4.1). A
// Content-Length where there is no body is not wrong (RFC 9113 §8.1.1).
func bodyLength(h *http1.ResponseHead, toHEAD bool) int64 {
	switch {
	case h.Status < 200 || h.Status == 204 || h.Status == 304 || toHEAD:
		return 0
	case h.ContentLength == http1.UntilClose:
		return http1.Chunked
	}
	return h.ContentLength
}
