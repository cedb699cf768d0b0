package http1

import (
	"bytes"
	"cmp"
)

// A RequestHead is a parsed HTTP/1.x request head. Its slices are subslices of the
// bytes passed to Parse and valid only while those are: in a server, until the
// handler returns. The zero value is ready for Parse, and may be reused.
//
// The parser is strict, because what one program reads as a body another may read
// as the next request (request smuggling). It refuses every head that has more than
// one reading, and the server then closes the connection.
type RequestHead struct {
	Method, Target []byte
	Path, Query    []byte // of Target, still escaped; Path is "*" for OPTIONS *
	Host           []byte // from Target if that has one, otherwise from the Host field
	Fields         []Field
	Minor          int   // the minor version: HTTP/1.0 or HTTP/1.1
	Length         int64 // of the body in bytes, or Chunked; 0 without a body

	hostFields, lengthFields, codingFields int // how often Host, Content-Length and Transfer-Encoding occur
	options                                int // members of Connection, in all of its fields
	chunked                                bool
	closeAfter, keepAlive, ExpectContinue  bool         // Connection: close, keep-alive; Expect: 100-continue
	err                                    *StatusError // the first error in a field
}

// A Field is one field line of a head or a trailer section: its name as sent, and
// its value without surrounding white space.
type Field struct{ Name, Value []byte }

// Chunked is the Length of a body that is sent in chunks, so that its head does not
// say how long it is (RFC 9112 §7.1).
const Chunked = -1

var (
	errRequestLine     = &StatusError{400, "the request line is not: method, space, target, space, HTTP/1.1"}
	errTarget          = &StatusError{400, "the target is neither a path nor http://host/path"}
	errVersion         = &StatusError{505, "this server speaks HTTP/1.1"}
	errFieldLine       = &StatusError{400, "a field line is not: name, colon, value"}
	errLineEnding      = &StatusError{400, "a line ends in a bare CR or LF, or has a control character in it"}
	errHost            = &StatusError{400, "an HTTP/1.1 request has one Host field, with a valid host in it"}
	errScheme          = &StatusError{421, "this server does not speak https"}
	errContentLength   = &StatusError{400, "Content-Length is not one number"}
	errLengthAndCoding = &StatusError{400, "Content-Length and Transfer-Encoding in one request"}
	errTransferCoding  = &StatusError{400, "Transfer-Encoding does not end in chunked, once"}
	errCodingInHTTP10  = &StatusError{400, "HTTP/1.0 has no Transfer-Encoding"}
	errUnknownCoding   = &StatusError{501, "the only transfer coding implemented here is chunked"}
	errExpect          = &StatusError{417, "the only expectation implemented here is 100-continue"}
	errConnectMethod   = &StatusError{501, "CONNECT is for proxies"}
	errTooManyFields   = &StatusError{431, "too many fields"}
	errTooManyOptions  = &StatusError{431, "Connection has too many options"}
	errHeadTooLong     = &StatusError{431, "the head is too long"}
	errTargetTooLong   = &StatusError{414, "the target is too long"}
	errMethodTooLong   = &StatusError{501, "the method is too long to be a known one"}
)

// Parse parses a complete request head, of the length that HeadLength returned, with
// at most maxFields fields. It returns nil, or the StatusError of the first thing
// wrong; r is then only partly set. It allocates nothing if r has held as many
// fields before.
func (r *RequestHead) Parse(head []byte, maxFields int) *StatusError {
	fields := r.Fields[:0]
	*r = RequestHead{} // not with Fields in the literal: a literal that reads r is built elsewhere and copied
	r.Fields = fields
	rest, refused := r.parseRequestLine(head)
	if refused == nil {
		r.Fields, refused = parseFields(r.Fields, rest, maxFields)
	}
	if refused != nil {
		return cmp.Or(checkPrefix(head, 0, errRequestLine), refused)
	}
	for i := range r.Fields {
		r.recordField(&r.Fields[i])
	}
	if r.err != nil {
		return r.err
	}
	return r.validate()
}

// parseRequestLine reads method SP target SP version CRLF (RFC 9112 §3).
func (r *RequestHead) parseRequestLine(b []byte) (rest []byte, refused *StatusError) {
	m := Span(b, TokenByte)
	if m == 0 || b[m] != ' ' {
		return nil, errRequestLine
	}
	r.Method, b = b[:m], b[m+1:]
	t := Span(b, TargetByte)
	if t == 0 || b[t] != ' ' {
		return nil, errRequestLine
	}
	r.Target, b = b[:t], b[t+1:]
	const version = len("HTTP/1.1")
	if len(b) < version+2 || string(b[:5]) != "HTTP/" || !isDigit(b[5]) || b[6] != '.' || !isDigit(b[7]) || b[8] != '\r' || b[9] != '\n' {
		return nil, errRequestLine
	}
	if b[5] != '1' {
		return nil, errVersion
	}
	r.Minor = min(int(b[7]-'0'), 1) // RFC 9110 §2.5: a later 1.x is treated as 1.1
	return b[version+2:], r.parseTarget()
}

// parseTarget distinguishes the four forms of a target (RFC 9112 §3.2).
func (r *RequestHead) parseTarget() *StatusError {
	t := r.Target
	switch {
	case string(r.Method) == "CONNECT":
		return errConnectMethod
	case t[0] == '/':
		r.Path = t
	case string(t) == "*" && string(r.Method) == "OPTIONS":
		r.Path = t
		return nil
	case len(t) > 7 && EqualFold(t[:7], "http://"):
		end := bytes.IndexAny(t[7:], "/?")
		if end < 0 {
			end = len(t) - 7
		}
		r.Host, r.Path = t[7:7+end], t[7+end:]
		if len(r.Host) == 0 || !ValidHost(r.Host) {
			return errTarget
		}
	case len(t) > 8 && EqualFold(t[:8], "https://"):
		return errScheme // RFC 9110 §7.4
	default:
		return errTarget
	}
	if q := bytes.IndexByte(r.Path, '?'); q >= 0 {
		r.Path, r.Query = r.Path[:q], r.Path[q+1:]
	}
	if len(r.Path) == 0 { // http://host; with OPTIONS it means the whole server (RFC 9112 §3.2.4)
		r.Path = []byte("/")
		if string(r.Method) == "OPTIONS" && r.Query == nil {
			r.Path = []byte("*")
		}
	}
	return nil
}

// parseFields appends to fields the field lines of b, up to its empty line (RFC 9112
// §5), at most maxFields. A folded line begins with a space, which no name
// does, so it is refused (§5.2). b must end in an empty line.
func parseFields(fields []Field, b []byte, maxFields int) ([]Field, *StatusError) {
	for b[0] != '\r' || b[1] != '\n' {
		n := Span(b, TokenByte)
		if n == 0 || b[n] != ':' {
			return fields, errFieldLine
		}
		v := n + 1 + valueSpan(b[n+1:])
		if b[v] != '\r' || b[v+1] != '\n' {
			return fields, errLineEnding
		}
		if len(fields) == maxFields {
			return fields, errTooManyFields
		}
		fields = append(fields, Field{b[:n], TrimSpace(b[n+1 : v])})
		b = b[v+2:]
	}
	return fields, nil
}

// recordField evaluates the fields that decide where the request ends and whether
// the connection persists.
func (r *RequestHead) recordField(f *Field) {
	switch len(f.Name) { // the length alone rules out most fields
	case len("host"):
		if EqualFold(f.Name, "host") {
			r.hostFields++
			if r.Host == nil { // RFC 9112 §3.2.2: an absolute target overrides Host
				r.Host = f.Value
			}
			r.reject(ValidHost(f.Value), errHost)
		}
	case len("expect"):
		if EqualFold(f.Name, "expect") && r.Minor == 1 {
			r.ExpectContinue = EqualFold(f.Value, "100-continue")
			r.reject(r.ExpectContinue, errExpect)
		}
	case len("connection"):
		if EqualFold(f.Name, "connection") {
			r.parseConnection(f.Value)
		}
	case len("content-length"):
		if EqualFold(f.Name, "content-length") {
			r.lengthFields++
			var ok bool
			r.Length, ok = ParseNumber(f.Value)
			r.reject(ok, errContentLength)
			r.reject(r.Length < MaxNumber, errBodyTooLong)
		}
	case len("transfer-encoding"):
		if EqualFold(f.Name, "transfer-encoding") {
			r.codingFields++
			r.parseTransferEncoding(f.Value)
		}
	}
}

// reject records why as r's error, unless ok or an earlier error is recorded.
func (r *RequestHead) reject(ok bool, why *StatusError) {
	if !ok && r.err == nil {
		r.err = why
	}
}

// maxOptions is how many members Connection may have. A gateway compares each field and
// each trailer of a message with all of them, so their number must not grow with the
// head: 2,500 options and 2,500 names in one head of 15 KB took 16 ms. Real clients send
// one or two.
const maxOptions = 32

// countMembers counts the members of a list, empty ones included: a parser examines each.
func countMembers(list []byte) int { return 1 + bytes.Count(list, []byte(",")) }

func (r *RequestHead) parseConnection(list []byte) {
	if r.options += countMembers(list); r.options > maxOptions {
		r.reject(false, errTooManyOptions)
		return
	}
	for option := range bytes.SplitSeq(list, []byte(",")) {
		option = TrimSpace(option)
		r.closeAfter = r.closeAfter || EqualFold(option, "close")
		r.keepAlive = r.keepAlive || EqualFold(option, "keep-alive")
	}
}

// parseTransferEncoding accepts only "chunked". If another coding precedes it, the
// error is 501, not implemented. If chunked is not last, the length is unknown, and
// the error is 400 (RFC 9112 §6.1, §6.3). So it is for an empty list member, or one
// that is no coding, because programs differ in how they read such a list.
func (r *RequestHead) parseTransferEncoding(list []byte) {
	if r.chunked = EqualFold(list, "chunked"); r.chunked {
		return
	}
	why := errUnknownCoding
	last := false // the latest coding is chunked
	for coding := range bytes.SplitSeq(list, []byte(",")) {
		name, _, _ := bytes.Cut(coding, []byte(";"))
		name = TrimSpace(name)
		if last || len(name) == 0 || Span(name, TokenByte) < len(name) {
			why = errTransferCoding
		}
		last = EqualFold(TrimSpace(coding), "chunked")
	}
	if !last {
		why = errTransferCoding
	}
	r.reject(false, why)
}

// validate checks the rules that need the whole head.
func (r *RequestHead) validate() *StatusError {
	switch {
	case r.hostFields > 1 || r.hostFields == 0 && r.Minor == 1:
		return errHost
	case r.lengthFields > 1:
		return errContentLength
	case r.codingFields > 1:
		return errTransferCoding
	case r.codingFields == 1 && r.Minor == 0:
		return errCodingInHTTP10
	case r.codingFields == 1 && r.lengthFields == 1:
		return errLengthAndCoding
	}
	if r.chunked {
		r.Length = Chunked
	}
	return nil
}

// Persists reports whether the client wants the connection to stay open after the
// response (RFC 9112 §9.3).
func (r *RequestHead) Persists() bool { return !r.closeAfter && (r.Minor == 1 || r.keepAlive) }

// IsSafe reports whether the method is one of the safe, that is read-only, methods
// (RFC 9110 §9.2.1).
func (r *RequestHead) IsSafe() bool {
	switch string(r.Method) {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// Get returns the value of the first field with that name, or nil if there is none.
// name must be in lower case.
func (r *RequestHead) Get(name string) []byte {
	for _, f := range r.Fields {
		if EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return nil
}
