package http1

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
)

// A RequestHead is the head of an HTTP/1.x request, taken apart. Its slices are
// parts of the head: they are good as long as the handler runs, no longer.
//
// The parser is strict, because what one program reads as a body another may read
// as the next request (request smuggling). Whatever it is not sure of is
// refused, and the connection with it.
type RequestHead struct {
	Method, Target []byte
	Path, Query    []byte // of the target; path is "*" for OPTIONS *
	Host           []byte
	Fields         []Field
	Minor          int   // of HTTP/1.minor: 0 or 1
	Length         int64 // of the body; chunked when it says so as it goes

	hostFields, lengthFields, codingFields int // how often these fields came
	options                                int // members of Connection, in all of its fields
	chunked                                bool
	closeAfter, keepAlive, ExpectContinue  bool // Connection: close, keep-alive; Expect: 100-continue
	err                                    *StatusError
}

// A Field is a line of a head: its name as it was sent, and its value without the
// spaces around it.
type Field struct{ Name, Value []byte }

// Chunked as a length says that a body is as long as its chunks are.
const Chunked = -1

// A StatusError is the response to a request that the server will not handle.
type StatusError struct {
	Status int
	Detail string // one sentence for the client
}

// Error is the text of the response.
func (r *StatusError) Error() string { return StatusText(r.Status) + ": " + r.Detail }

var (
	errRequestLine     = &StatusError{400, "the request line is not: method, space, target, space, HTTP/1.1"}
	errTarget          = &StatusError{400, "the target is neither a path nor http://host/path"}
	errVersion         = &StatusError{505, "this server speaks HTTP/1.1"}
	errFieldLine       = &StatusError{400, "a field line is not: name, colon, value"}
	errLineEnding      = &StatusError{400, "a line ends in a bare CR or LF, or has a control character in it"}
	errHost            = &StatusError{400, "an HTTP/1.1 request has one Host field, with a valid host in it"}
	errScheme          = &StatusError{421, "https is not spoken here"}
	errContentLength   = &StatusError{400, "Content-Length is not one number"}
	errLengthAndCoding = &StatusError{400, "Content-Length and Transfer-Encoding in one request"}
	errTransferCoding  = &StatusError{400, "Transfer-Encoding does not end in chunked, once"}
	errCodingInHTTP10  = &StatusError{400, "HTTP/1.0 has no Transfer-Encoding"}
	errUnknownCoding   = &StatusError{501, "of the transfer codings only chunked is known"}
	errExpect          = &StatusError{417, "only 100-continue can be expected"}
	errConnectMethod   = &StatusError{501, "CONNECT is for proxies"}
	errTooManyFields   = &StatusError{431, "too many fields"}
	errTooManyOptions  = &StatusError{431, "Connection has too many options"}
	errHeadTooLong     = &StatusError{431, "the head is too long"}
	errTargetTooLong   = &StatusError{414, "the target is too long"}
	errMethodTooLong   = &StatusError{501, "the method is too long to be one that is known here"}
)

// Parse reads a head that ends in an empty line, with maxFields fields at most. It
// allocates nothing when r has held as many fields before.
func (r *RequestHead) Parse(head []byte, maxFields int) *StatusError {
	fields := r.Fields[:0]
	*r = RequestHead{} // apart from the next line: a literal that reads r is made elsewhere and copied
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
	r.Minor = min(int(b[7]-'0'), 1) // RFC 9110 §2.5: a later 1.x is understood as 1.1
	return b[version+2:], r.parseTarget()
}

// parseTarget tells the four forms of RFC 9112 §3.2 apart.
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
	if len(r.Path) == 0 { // http://host, which for OPTIONS means the server: RFC 9112 §3.2.4
		r.Path = []byte("/")
		if string(r.Method) == "OPTIONS" && r.Query == nil {
			r.Path = []byte("*")
		}
	}
	return nil
}

// parseFields appends the field lines of b, up to an empty line (RFC 9112 §5).
// A line that is folded begins with a space, which is no name: refused.
func parseFields(fields []Field, b []byte, most int) ([]Field, *StatusError) {
	for b[0] != '\r' || b[1] != '\n' {
		n := Span(b, TokenByte)
		if n == 0 || b[n] != ':' {
			return fields, errFieldLine
		}
		v := n + 1 + valueSpan(b[n+1:])
		if b[v] != '\r' || b[v+1] != '\n' {
			return fields, errLineEnding
		}
		if len(fields) == most {
			return fields, errTooManyFields
		}
		fields = append(fields, Field{b[:n], TrimSpace(b[n+1 : v])})
		b = b[v+2:]
	}
	return fields, nil
}

// recordField looks at the fields that say where the request ends and what becomes of
// the connection.
func (r *RequestHead) recordField(f *Field) {
	switch len(f.Name) { // most fields are passed over by their length
	case len("host"):
		if EqualFold(f.Name, "host") {
			r.hostFields++
			if r.Host == nil { // RFC 9112 §3.2.2: an absolute target knows better
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

func (r *RequestHead) reject(ok bool, why *StatusError) {
	if !ok && r.err == nil {
		r.err = why
	}
}

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

// parseTransferEncoding accepts chunked alone. RFC 9112 §6.1 and §6.3: another coding
// before it is not implemented; anything at the end but chunked leaves the
// length unknown. A list with a hole in it, or with what cannot be a coding, is
// read in one way by one program and in another by the next.
func (r *RequestHead) parseTransferEncoding(list []byte) {
	if r.chunked = EqualFold(list, "chunked"); r.chunked {
		return
	}
	why := errUnknownCoding
	last := false // chunked, so far
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

// validate is for the rules that need the whole head.
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

// Persists says whether the client wants to use the connection again (RFC 9112 §9.3).
func (r *RequestHead) Persists() bool { return !r.closeAfter && (r.Minor == 1 || r.keepAlive) }

// IsSafe says whether the method only looks (RFC 9110 §9.2.1).
func (r *RequestHead) IsSafe() bool {
	switch string(r.Method) {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// Get returns the first value of a field, nil when there is none. name is in
// lower case.
func (r *RequestHead) Get(name string) []byte {
	for _, f := range r.Fields {
		if EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return nil
}

// HeadLength returns the length of the request head at the beginning of b, 0
// when b does not hold it to its end; the first from bytes have been looked at
// before.
func HeadLength(b []byte, from int) int {
	for i := max(from-3, 0); ; i++ {
		cr := bytes.IndexByte(b[i:], '\r')
		if cr < 0 || i+cr+4 > len(b) {
			return 0
		}
		if i += cr; string(b[i:i+4]) == "\r\n\r\n" {
			return i + 4
		}
	}
}

// CheckPartialHead refuses a head that is not there to its end yet but already wrong,
// so that its sender need not wait for a timeout to hear of it. Nothing beyond
// maxHead counts: the verdict must not depend on where the network cut the bytes.
//
// The first from bytes have been checked before: a head that comes byte by byte is not read
// from its beginning each time.
func CheckPartialHead(b []byte, from, maxHead int) *StatusError {
	seen := b[:min(len(b), maxHead)]
	if refused := checkPrefix(seen, from, errRequestLine); refused != nil || len(b) < maxHead {
		return refused
	}
	return tooLongError(seen)
}

// checkPrefix is what is wrong in a head however little of it has come: its first
// byte, which is what begin is for, or a bare LF. It comes before all else that
// is wrong in a whole head, for in pieces it would have been found first.
func checkPrefix(b []byte, from int, begin *StatusError) *StatusError {
	switch {
	case len(b) > 0 && !TokenByte[b[0]] && b[0] != '\r':
		return begin // a TLS hello, perhaps
	case hasBareLF(b, from):
		return errLineEnding
	}
	return nil
}

// hasBareLF says whether b has one, of which the first from bytes have none.
func hasBareLF(b []byte, from int) bool {
	for from < len(b) {
		lf := bytes.IndexByte(b[from:], '\n')
		if lf < 0 {
			return false
		}
		if from += lf; from == 0 || b[from-1] != '\r' {
			return true
		}
		from++
	}
	return false
}

// tooLongError says what is too long in a head of which b is as much as may be: the
// method and the target have a status of their own (RFC 9112 §3).
func tooLongError(b []byte) *StatusError {
	method := Span(b, TokenByte)
	switch {
	case bytes.IndexByte(b, '\n') >= 0:
		return errHeadTooLong
	case method == len(b) || method > maxMethod:
		return errMethodTooLong
	case b[method] != ' ':
		return errRequestLine
	}
	target := b[method+1:]
	if t := Span(target, TargetByte); t < len(target) && target[t] != ' ' {
		return errRequestLine
	}
	return errTargetTooLong
}

// maxOptions is how many members Connection may have. A gateway compares each field and
// each trailer of a message with all of them, so their number must not grow with the
// head: 2,500 options and 2,500 names in one head of 15 KB took 16 ms. Real
// clients send one or two.
const maxOptions = 32

// countMembers counts the members of a list, empty ones too: a program passes them one by one.
func countMembers(list []byte) int { return 1 + bytes.Count(list, []byte(",")) }

const maxMethod = 32 // bytes; the longest that is registered has 17 (RFC 4437)

// A set of bytes, one bit of the grammar of RFC 9110 §5.6.2 and §5.5.
type byteSet [256]bool

var (
	TokenByte   = ByteSetOf("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	nameByte    = ByteSetOf("!$&'()*+,;=-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") // of a host; % begins an escape
	addressByte = ByteSetOf("0123456789abcdefABCDEF:.")
	TargetByte  = ByteSetOf("!$%&'()*+,-./:;=?@[]_~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") // RFC 3986 has no others, but #: a fragment is never sent
	valueByte   = byteRange(' ', 255, 127)
)

func init() { valueByte['\t'] = true }

func ByteSetOf(members string) *byteSet {
	var s byteSet
	for i := range len(members) {
		s[members[i]] = true
	}
	return &s
}

func byteRange(first, last, without byte) *byteSet {
	var s byteSet
	for c := int(first); c <= int(last); c++ {
		s[c] = byte(c) != without
	}
	return &s
}

// Span counts the bytes at the beginning of b that are in s. A head ends in
// CRLF, which is in none: what span counts is never all of it.
func Span(b []byte, s *byteSet) int {
	for i, c := range b {
		if !s[c] {
			return i
		}
	}
	return len(b)
}

// valueSpan is span of valueByte. It looks at eight bytes at a time, because
// values are most of a request: subtracting borrows from the high bit of a byte
// that is too small. The lowest bit found is right; those above it may not be.
func valueSpan(b []byte) (n int) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; len(b)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(b[n:])
		del := w ^ 127*ones // a byte that was DEL is 0 now
		if found := ((w-' '*ones)&^w | (del-ones)&^del) & highs; found != 0 {
			n += bits.TrailingZeros64(found) / 8
			break
		}
	}
	return n + Span(b[n:], valueByte) // it may have been a tab, which is too small as well
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

const MaxNumber = 1<<63 - 1 // stands for all numbers that do not fit

// ParseNumber reads 1*DIGIT. A number that does not fit is math.MaxInt64, which is too
// large for any limit.
func ParseNumber(b []byte) (n int64, ok bool) {
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
		if n > (MaxNumber-9)/10 {
			n = MaxNumber
		} else {
			n = n*10 + int64(c-'0')
		}
	}
	return n, len(b) > 0
}

// ValidHost wants uri-host [ ":" port ], RFC 9110 §7.2; it may be empty.
func ValidHost(b []byte) bool {
	n := Span(b, nameByte)
	for n+2 < len(b) && b[n] == '%' && HexValue(b[n+1]) >= 0 && HexValue(b[n+2]) >= 0 {
		n += 3 + Span(b[n+3:], nameByte)
	}
	if n == 0 && len(b) > 0 && b[0] == '[' { // an IPv6 address
		if n = bytes.IndexByte(b, ']') + 1; n == 0 || Span(b[1:n], addressByte) != n-2 {
			return false
		}
	}
	if n < len(b) && b[n] == ':' {
		for n++; n < len(b) && isDigit(b[n]); n++ {
		}
	}
	return n == len(b)
}

// TrimSpace takes off spaces and tabs, which are all the white space that HTTP has.
func TrimSpace(b []byte) []byte {
	b = TrimLeadingSpace(b)
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

func TrimLeadingSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// EqualFold compares b with a name in lower case; only ASCII letters have two
// cases here.
func EqualFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
