package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/http1"
	"socketup/part3-pipelining/server"
)

// What HTTP/1.1 requires of an origin server, tested from outside: these tests
// can judge any server with the routes of part 3.

const ruleCloseInStages = "house rule, RFC 9112 §9.6: close, and in stages, or the client may lose the response"

// allowAnyVersion returns s with a status line of HTTP/1.0 rewritten to
// HTTP/1.1, for responses to HTTP/1.0 requests.
func (s transcript) allowAnyVersion() transcript {
	s.got = strings.ReplaceAll(s.got, "HTTP/1.0 ", "HTTP/1.1 ")
	return s
}

func TestHelloResponseIsExact(t *testing.T) {
	s := sendAndRead(t, contract(t), "MUST, RFC 9112 §2.1: status line, fields and empty line end in CRLF", "response.go, appendHead", get("/", closeField))

	s.wantPrefix(t, "HTTP/1.1 200 ")
	r := s.parseAll(t, "GET")[0]
	s.wantSame(t, "the body", "Hello, World!\n", r.body)
	s.wantCleanEnd(t)
	s.rule = "SHOULD, RFC 9112 §9.6: the response to Connection: close says close"
	s.wantSame(t, "Connection", "close", strings.ToLower(r.fields["connection"]))
}

func TestEveryResponseHasADate(t *testing.T) {
	const late = 3 * time.Second // for a server that formats the date once a second, and is busy
	addr, dates := contract(t), map[string]bool{}
	for begin := time.Now(); len(dates) < 2; time.Sleep(20 * time.Millisecond) { // a new date comes every second
		asked := time.Now()
		s := sendAndRead(t, addr, "MUST, RFC 9110 §6.6.1: a server with a clock sends Date, the time of the response", "clock.go, clock", get("/")+get("/none", closeField))
		for _, r := range s.parseAll(t, getMethods(2)...) {
			date, err := time.Parse(http1.DateFormat, r.fields["date"])
			if err != nil || date.Before(asked.Add(-late)) || date.After(time.Now().Add(late)) {
				s.fail(t, s.fieldAt("Date"), "Date is %q, not now as an IMF-fixdate in GMT", r.fields["date"])
			}
			dates[r.fields["date"]] = true
		}
		if len(dates) == 1 && asked.Sub(begin) > late {
			s.fail(t, s.fieldAt("Date"), "Date is %q, as it was %v ago", s.parseAll(t, getMethods(2)...)[0].fields["date"], late)
		}
	}
}

func TestMethodsAndPathsHaveTheRightStatus(t *testing.T) {
	addr := contract(t)
	const (
		method   = "SHOULD, RFC 9110 §9.1: an unknown method is 501"
		absolute = "MUST, RFC 9112 §3.2.2: a server accepts the absolute form"
		route    = "house rule: the routes of the contract"
	)
	for name, c := range map[string]struct{ sent, status, rule string }{
		"unknown path":                {get("/none", closeField), "404", route},
		"query":                       {get("/?a=b", closeField), "200", route},
		"unknown method":              {strings.Replace(get("/", closeField), "GET", "BREW", 1), "501", method},
		"methods are case-sensitive":  {strings.Replace(get("/", closeField), "GET", "get", 1), "501", method},
		"absolute target":             {strings.Replace(get("/", closeField), " / ", " http://socket.up/ ", 1), "200", absolute},
		"absolute without a path":     {strings.Replace(get("/", closeField), " / ", " HTTP://socket.up ", 1), "200", "house rule, RFC 9110 §4.2.3: an empty path is /"},
		"sleep without a duration":    {get("/sleep/soon", closeField), "400", route},
		"sleep of two minutes":        {get("/sleep/2m", closeField), "400", route},
		"stream without a number":     {get("/stream/many", closeField), "400", route},
		"stream of a number and more": {get("/stream/3abc", closeField), "400", route},
		"an empty line before":        {"\r\n" + get("/", closeField), "200", "SHOULD, RFC 9112 §2.2: an empty line before a request is ignored"},
		"HTTP/1.0 without Host":       {"GET / HTTP/1.0\r\n\r\n", "200", "MUST, RFC 9112 §3.2: Host is required in HTTP/1.1 only"},
		"HTTP/1.7 is 1.1":             {strings.Replace(get("/", closeField), "1.1", "1.7", 1), "200", "SHOULD, RFC 9110 §2.5: a higher minor version is treated as the highest one supported"},
		"a target of 8,000 bytes":     {get("/?"+strings.Repeat("a", 7998), closeField), "200", "SHOULD, RFC 9112 §3: request lines of 8,000 bytes are served"},
		"a target of 2 MiB":           {get("/"+strings.Repeat("a", 2<<20), closeField), "414", "MUST, RFC 9112 §3: a target that is too long is 414"},
		"a method as long as a head":  {strings.Repeat("A", 16<<10-1) + " / HTTP/1.1\r\nHost: x\r\n\r\n", "501", "SHOULD, RFC 9112 §3: a method longer than any that is known is 501"},
		"a method of 2 MiB":           {strings.Repeat("A", 2<<20) + " / HTTP/1.1\r\nHost: x\r\n\r\n", "501", "SHOULD, RFC 9112 §3: a method longer than any that is known is 501"},
		"a field of 2 MiB":            {get("/", "Long: "+strings.Repeat("a", 2<<20)+"\r\n", closeField), "431", "house rule: of the 4xx that RFC 9110 §5.4 requires, the one of RFC 6585 §5"},
		"ten thousand fields":         {get("/", strings.Repeat("A: b\r\n", 10_000), closeField), "431", "house rule: of the 4xx that RFC 9110 §5.4 requires, the one of RFC 6585 §5"},
		"a body of 1 TiB announced":   {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\n", "413", "house rule, RFC 9110 §15.5.14: a body announced as too long is refused immediately"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sendAndRead(t, addr, c.rule, "routes.go, dispatch; request.go, parseRequestLine", c.sent).allowAnyVersion()

			s.wantPrefix(t, "HTTP/1.1 "+c.status+" ")
			s.parseAll(t, "GET")
			s.withRule(ruleCloseInStages).wantCleanEnd(t)
		})
	}
}

func TestWrongMethodGets405WithAllow(t *testing.T) {
	addr := contract(t)
	for sent, allowed := range map[string]string{
		strings.Replace(post("/", "", closeField), "POST", "DELETE", 1): "GET",
		get("/echo", closeField): "POST",
	} {
		s := sendAndRead(t, addr, "MUST, RFC 9110 §15.5.6: 405 has an Allow field", "routes.go, serve", sent)

		s.wantPrefix(t, "HTTP/1.1 405 ")
		if allow := s.parseAll(t, "GET")[0].fields["allow"]; !strings.Contains(allow, allowed) {
			s.fail(t, 0, "Allow is %q, without %s", allow, allowed)
		}
	}
}

func TestHEADHasTheFieldsOfGETAndNoBody(t *testing.T) {
	s := sendAndRead(t, contract(t), "MUST NOT, RFC 9110 §9.3.2: no content in the response to HEAD", "response.go, bodiless",
		strings.Replace(get("/"), "GET", "HEAD", 1)+strings.Replace(get("/stream/3"), "GET", "HEAD", 1)+get("/", closeField))

	r := s.parseAll(t, "HEAD", "HEAD", "GET")
	s.wantSame(t, "the response to the GET after them", "Hello, World!\n", r[2].body)
	s.rule = "SHOULD, RFC 9110 §9.3.2: HEAD has the fields of GET"
	s.wantSame(t, "Content-Length", r[2].fields["content-length"], r[0].fields["content-length"])
	s.wantSame(t, "Content-Length of what GET would stream", "", r[1].fields["content-length"])
}

// A request whose end is ambiguous gets 400 and a close: what follows may be
// request smuggling. Where the RFC lets a server guess, refusing is a house
// rule.
func TestAmbiguousFramingIsRejected(t *testing.T) {
	addr := contract(t)
	chunked := "Transfer-Encoding: chunked\r\n"
	post := func(fields, body string) string {
		return "POST /echo HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n" + body
	}
	for name, c := range map[string]struct{ sent, status, rule string }{
		"no Host":                         {"GET / HTTP/1.1\r\n\r\n", "400", "MUST, RFC 9112 §3.2: an HTTP/1.1 request without Host is 400"},
		"two Hosts":                       {get("/", "Host: y\r\n"), "400", "MUST, RFC 9112 §3.2: a request with two Host fields is 400"},
		"a bad Host":                      {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400", "MUST, RFC 9112 §3.2: a Host that is no host is 400"},
		"a bad port":                      {"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "400", "MUST, RFC 9112 §3.2: a Host whose port is no number is 400"},
		"space before the colon":          {get("/", "Content-Length : 5\r\n"), "400", "MUST, RFC 9112 §5.1: a request with space between name and colon is 400"},
		"no name":                         {get("/", ": x\r\n"), "400", "SHOULD, RFC 9112 §2.2: a field line without a name does not match the grammar"},
		"no colon":                        {get("/", "Content-Length\r\n"), "400", "SHOULD, RFC 9112 §2.2: a field line without a colon does not match the grammar"},
		"an unknown name, no colon":       {get("/", "Way\r\n"), "400", "SHOULD, RFC 9112 §2.2: a field line without a colon does not match the grammar, whatever its name"},
		"a folded line":                   {get("/", "A: b\r\n c\r\n"), "400", "house rule, RFC 9112 §5.2: a value that goes on in the next line is refused"},
		"a line before the first field":   {"GET / HTTP/1.1\r\n Host: x\r\n\r\n", "400", "MUST, RFC 9112 §2.2: a line that begins with space before the first field is refused"},
		"bare LF":                         {"GET / HTTP/1.1\nHost: x\n\n", "400", "house rule, RFC 9112 §2.2: a line ends in CRLF; who accepts LF sees lines that others do not"},
		"bare LF in the fields":           {"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", "400", "house rule, RFC 9112 §2.2: a line ends in CRLF; who accepts LF sees fields that others do not"},
		"bare CR in a value":              {get("/", "A: b\rc\r\n"), "400", "house rule, RFC 9112 §2.2: a CR without LF is refused"},
		"NUL in a value":                  {get("/", "A: b\x00c\r\n"), "400", "house rule, RFC 9110 §5.5: a NUL in a value is refused"},
		"two spaces":                      {"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "400", "house rule, RFC 9112 §3: single spaces separate the words of a request line"},
		"a tab for a space":               {"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", "400", "house rule, RFC 9112 §3: single spaces separate the words of a request line"},
		"space after the version":         {"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", "400", "house rule, RFC 9112 §3: a request line ends in its version"},
		"no version":                      {"GET /\r\n\r\n", "400", "SHOULD, RFC 9112 §3: a request line has three words"},
		"lower case version":              {"GET / http/1.1\r\nHost: x\r\n\r\n", "400", "SHOULD, RFC 9112 §3: HTTP in a version is written in capitals"},
		"HTTP/2":                          {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "505", "house rule, RFC 9110 §15.6.6: another major version is 505"},
		"a relative target":               {get("x"), "400", "SHOULD, RFC 9112 §3: a target is a path, an absolute URI, an authority or a star"},
		"a fragment":                      {get("/#a"), "400", "SHOULD, RFC 9112 §3: a target has no fragment"},
		"a backslash":                     {get("/a\\b"), "400", "SHOULD, RFC 9112 §3: a target has only bytes of a URI"},
		"a quote in the query":            {get("/?a=\"b\""), "400", "SHOULD, RFC 9112 §3: a target has only bytes of a URI"},
		"angle brackets":                  {get("/<a>"), "400", "SHOULD, RFC 9112 §3: a target has only bytes of a URI"},
		"braces and bars":                 {get("/?{a}|b^`"), "400", "SHOULD, RFC 9112 §3: a target has only bytes of a URI"},
		"a letter that is not ASCII":      {get("/é"), "400", "SHOULD, RFC 9112 §3: a target has only bytes of a URI"},
		"star for GET":                    {get("*"), "400", "SHOULD, RFC 9112 §3: a star is a target of OPTIONS only"},
		"https":                           {get("https://x/"), "421", "MUST, RFC 9110 §7.4: a target that this connection cannot be for is 421"},
		"garbage":                         {"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", "400", "SHOULD, RFC 9112 §2.2: what does not match the grammar of a request is 400"},
		"two lengths":                     {post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), "400", "house rule, RFC 9112 §6.3: two Content-Length fields are refused, also when they agree"},
		"a list of lengths":               {post("Content-Length: 5, 5\r\n", "hello"), "400", "house rule, RFC 9112 §6.3: a list in Content-Length is refused, also of equal numbers"},
		"a length with a sign":            {post("Content-Length: +5\r\n", "hello"), "400", "MUST, RFC 9112 §6.3: Content-Length is digits alone"},
		"a negative length":               {post("Content-Length: -5\r\n", "hello"), "400", "MUST, RFC 9112 §6.3: Content-Length is digits alone"},
		"a length in hexadecimal":         {post("Content-Length: 0x5\r\n", "hello"), "400", "MUST, RFC 9112 §6.3: Content-Length is digits alone, and decimal"},
		"an empty length":                 {post("Content-Length: \r\n", ""), "400", "MUST, RFC 9112 §6.3: Content-Length has at least one digit"},
		"a length of 100 digits":          {post("Content-Length: "+strings.Repeat("9", 100)+"\r\n", ""), "413", "house rule, RFC 9110 §8.6: a number that is too large for the machine is a body that is too long"},
		"length and chunked":              {post(chunked+"Content-Length: 5\r\n", "0\r\n\r\n"), "400", "house rule, RFC 9112 §6.3: a request with both framings is refused: of two programs one may believe the other field"},
		"chunked and length":              {post("Content-Length: 5\r\n"+chunked, "0\r\n\r\n"), "400", "house rule, RFC 9112 §6.3: a request with both framings is refused, in either order"},
		"chunked twice":                   {post(chunked+chunked, "0\r\n\r\n"), "400", "house rule, RFC 9112 §6.1: chunked is applied once"},
		"chunked, chunked":                {post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), "400", "house rule, RFC 9112 §6.1: chunked is applied once"},
		"chunked, then an empty element":  {post("Transfer-Encoding: chunked,\r\n", "0\r\n\r\n"), "400", "house rule, RFC 9112 §6.1: Transfer-Encoding is chunked alone, without empty elements"},
		"an empty element, then chunked":  {post("Transfer-Encoding: , chunked\r\n", "0\r\n\r\n"), "400", "house rule, RFC 9112 §6.1: Transfer-Encoding is chunked alone, without empty elements"},
		"gzip, an empty element, chunked": {post("Transfer-Encoding: gzip,, chunked\r\n", "0\r\n\r\n"), "400", "house rule, RFC 9112 §6.1: Transfer-Encoding is chunked alone, without empty elements"},
		"an invalid coding, chunked":      {post("Transfer-Encoding: a b, chunked\r\n", "0\r\n\r\n"), "400", "house rule, RFC 9112 §6.1: a coding's name is a token"},
		"chunked with a parameter":        {post("Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\n"), "400", "house rule, RFC 9112 §7.1: chunked has no parameters"},
		"not chunked at the end":          {post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"), "400", "MUST, RFC 9112 §6.3: a request whose last coding is not chunked has no certain end"},
		"identity":                        {post("Transfer-Encoding: identity\r\n", ""), "400", "MUST, RFC 9112 §6.3: a request whose last coding is not chunked has no certain end"},
		"xchunked":                        {post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), "400", "MUST, RFC 9112 §6.3: a request whose last coding is not chunked has no certain end, however alike"},
		"vertical tab chunked":            {post("Transfer-Encoding: \vchunked\r\n", "0\r\n\r\n"), "400", "MUST, RFC 9112 §6.3: a request whose last coding is not chunked has no certain end; a vertical tab is no blank"},
		"gzip, chunked":                   {post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), "501", "SHOULD, RFC 9112 §6.1: a coding that the server does not know is 501"},
		"chunked in HTTP/1.0":             {"POST /echo HTTP/1.0\r\nHost: x\r\n" + chunked + "\r\n0\r\n\r\n", "400", "house rule, RFC 9112 §6.1: HTTP/1.0 has no Transfer-Encoding: its framing is faulty"},
		"a size without digits":           {post(chunked, ";a\r\n\r\n0\r\n\r\n"), "400", "SHOULD, RFC 9112 §2.2: a chunk begins with its size, in at least one digit"},
		"a size with 0x":                  {post(chunked, "0x5\r\nhello\r\n0\r\n\r\n"), "400", "SHOULD, RFC 9112 §2.2: a chunk size is hexadecimal digits alone"},
		"a size with a sign":              {post(chunked, "+5\r\nhello\r\n0\r\n\r\n"), "400", "SHOULD, RFC 9112 §2.2: a chunk size is hexadecimal digits alone"},
		"a negative size":                 {post(chunked, "-5\r\nhello\r\n0\r\n\r\n"), "400", "SHOULD, RFC 9112 §2.2: a chunk size is hexadecimal digits alone"},
		"space before a size":             {post(chunked, " 5\r\nhello\r\n0\r\n\r\n"), "400", "SHOULD, RFC 9112 §2.2: a chunk size is hexadecimal digits alone"},
		"bare LF after a size":            {post(chunked, "5\nhello\r\n0\r\n\r\n"), "400", "SHOULD, RFC 9112 §2.2: the line of a chunk size ends in CRLF"},
		"bare CR in an extension":         {post(chunked, "5;a=\rb\r\nhello\r\n0\r\n\r\n"), "400", "SHOULD, RFC 9112 §2.2: the line of a chunk size ends in CRLF, and has no other CR"},
		"an extension without a name":     {post(chunked, "5;\r\nhello\r\n0\r\n\r\n"), "400", "house rule, RFC 9112 §7.1.1: a chunk extension has a name"},
		"an extension with a bad name":    {post(chunked, "5;a b\r\nhello\r\n0\r\n\r\n"), "400", "house rule, RFC 9112 §7.1.1: the name of a chunk extension is a token"},
		"an extension with half a value":  {post(chunked, "5;a=\r\nhello\r\n0\r\n\r\n"), "400", "house rule, RFC 9112 §7.1.1: a chunk extension with = has a value"},
		"an open quote":                   {post(chunked, "5;a=\"b\r\nhello\r\n0\r\n\r\n"), "400", "house rule, RFC 9112 §7.1.1: a quoted value ends in a quote"},
		"text after a quoted string":      {post(chunked, "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n"), "400", "house rule, RFC 9112 §7.1.1: a quoted value is the whole value"},
		"space after a size":              {post(chunked, "5 \r\nhello\r\n0\r\n\r\n"), "400", "house rule, RFC 9112 §7.1: no blank follows a chunk size"},
		"space after an extension":        {post(chunked, "5;a \r\nhello\r\n0\r\n\r\n"), "400", "house rule, RFC 9112 §7.1.1: no blank follows a chunk extension"},
		"a chunk longer than its size":    {post(chunked, "3\r\nhello\r\n0\r\n\r\n"), "400", "SHOULD, RFC 9112 §2.2: CRLF follows the last byte of a chunk"},
		"CR and no LF after a chunk":      {post(chunked, "5\r\nhello\rX0\r\n\r\n"), "400", "SHOULD, RFC 9112 §2.2: CRLF follows the last byte of a chunk"},
		"bare LF after a chunk":           {post(chunked, "5\r\nhello\n0\r\n\r\n"), "400", "SHOULD, RFC 9112 §2.2: CRLF follows the last byte of a chunk"},
		"a size of 2^64":                  {post(chunked, "10000000000000000\r\nhello\r\n0\r\n\r\n"), "413", "house rule, RFC 9112 §7.1: a size that is too large for the machine is a body that is too long"},
		"a bad trailer":                   {post(chunked, "0\r\nA : b\r\n\r\n"), "400", "MUST, RFC 9112 §5.1: a trailer with space between name and colon is 400"},
		"another expectation":             {get("/", "Expect: a-miracle\r\n"), "417", "house rule, RFC 9110 §10.1.1: an expectation that the server does not know is 417"},
		"CONNECT":                         {"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", "501", "house rule, RFC 9110 §9.3.6: an origin server is no tunnel: CONNECT is 501"},
		"HTTP/2 preface":                  {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505", "house rule, RFC 9110 §15.6.6: the preface of HTTP/2 names another major version: 505"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sendAndRead(t, addr, c.rule, "request.go, Parse; framing.go, Decode", c.sent+get("/smuggled", closeField))

			s.wantPrefix(t, "HTTP/1.1 "+c.status+" ")
			s = s.withRule("house rule, RFC 9112 §9.6: after a refusal the connection closes: the next request cannot be found")
			s.parseAll(t, "GET") // and nothing after it
			s.wantCleanEnd(t)
		})
	}
}

func TestEchoReadsEveryFraming(t *testing.T) {
	addr := contract(t)
	large := strings.Repeat("0123456789abcdef", 64<<10/16)
	for name, c := range map[string]struct{ sent, body string }{
		"Content-Length":      {post("/echo", "hello"), "hello"},
		"PUT":                 {strings.Replace(post("/echo", "hello"), "POST", "PUT", 1), "hello"},
		"empty":               {post("/echo", ""), ""},
		"none":                {"POST /echo HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		"64 KiB":              {post("/echo", large), large},
		"1 MiB":               {post("/echo", strings.Repeat(large, 16)), strings.Repeat(large, 16)},
		"chunked":             {chunkedPost("5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n"), "hello, world"},
		"chunk extensions":    {chunkedPost("5;a=b;c=\"d\"\r\nhello\r\n0;last\r\n\r\n"), "hello"},
		"all of the grammar":  {chunkedPost("5 ;\ta = b;c=\"d;\\\"\\\\e\";f\r\nhello\r\n0;last\r\n\r\n"), "hello"},
		"capitals and zeros":  {chunkedPost("000A\r\n0123456789\r\n00\r\n\r\n"), "0123456789"},
		"more zeros":          {chunkedPost("00000000000000000005\r\nhello\r\n00000000000000000000\r\n\r\n"), "hello"},
		"trailers":            {chunkedPost("5\r\nhello\r\n0\r\nDigest: x\r\nX-Way: y\r\n\r\n"), "hello"},
		"chunks and 64 KiB":   {chunkedPost("10000\r\n" + large + "\r\n1\r\nx\r\n0\r\n\r\n"), large + "x"},
		"CRLF after the body": {post("/echo", "hello") + "\r\n", "hello"},
		"blanks and zeros":    {"POST /echo HTTP/1.1\r\nHost: x\r\nCONTENT-length:\t 010 \t\r\n\r\n0123456789", "0123456789"},
		"no space":            {"POST /echo HTTP/1.1\r\nHost:x\r\nContent-Length:5\r\n\r\nhello", "hello"},
		"any bytes":           {post("/echo", "\x00\r\n\r\n\xff"+get("/")), "\x00\r\n\r\n\xff" + get("/")},
		"a bare LF":           {post("/echo", "a\nb\n"), "a\nb\n"},
		"a bare LF in chunks": {chunkedPost("4\r\na\nb\n\r\n0\r\n\r\n"), "a\nb\n"},
		"in capitals":         {"POST /echo HTTP/1.1\r\nHOST: x\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello"},
		"a chunk in a chunk":  {chunkedPost("b\r\n\r\n0\r\n\r\n5\r\na\r\n0\r\n\r\n"), "\r\n0\r\n\r\n5\r\na"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sendAndRead(t, addr, "MUST, RFC 9112 §6 and §7.1: a body ends where its framing says, and the next request begins there", "framing.go, Decode",
				c.sent+get("/", closeField))

			r := s.parseUntilClose(t, "POST", "GET")
			s.wantSame(t, "the status", "200", r[0].status[:3])
			s.wantSame(t, "the body", c.body, r[0].body)
			s.wantSameNext(t, "the response to the request after the body", "Hello, World!\n", r[1:])
		})
	}
}

func chunkedPost(body string) string {
	return "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: text/x-test\r\nTransfer-Encoding: chunked\r\n\r\n" + body
}

func TestEchoKeepsTheContentType(t *testing.T) {
	s := sendAndRead(t, contract(t), "house rule: the contract of /echo", "routes.go, echo", post("/echo", "{}", "Content-Type: application/json\r\n", closeField))

	s.wantSame(t, "Content-Type", "application/json", s.parseAll(t, "POST")[0].fields["content-type"])
}

func TestEveryResponseWithContentHasAContentType(t *testing.T) {
	addr := contract(t)
	for name, sent := range map[string]string{
		"hello": get("/", closeField), "stream": get("/stream/2", closeField), "sleep": get("/sleep/1ms", closeField), "empty": get("/none", closeField),
		"echo": post("/echo", "hello", closeField), "echo of an empty type": post("/echo", "hello", "Content-Type:\r\n", closeField),
	} {
		t.Run(name, func(t *testing.T) {
			s := sendAndRead(t, addr, "SHOULD, RFC 9110 §8.3: content has a Content-Type", "routes.go", sent)

			if r := s.parseAll(t, "GET")[0]; r.fields["content-type"] == "" {
				s.fail(t, len(s.got)-len(r.body), "the response has content, and no Content-Type")
			}
		})
	}
}

func TestChunkedRequestOneByteAtATime(t *testing.T) {
	sent := chunkedPost("5\r\nhello\r\n0\r\nA: b\r\n\r\n") + get("/", closeField)
	s := sendAndRead(t, contract(t), "MUST, RFC 9112 §2.2 and §7.1: TCP is a stream, and a read may return any part of what was sent, read(2)", "framing.go, Decode", strings.Split(sent, "")...)

	r := s.parseUntilClose(t, "POST", "GET")
	s.wantSame(t, "the body", "hello", r[0].body)
}

func TestStreamIsSentInChunksAsItIsWritten(t *testing.T) {
	s := sendAndRead(t, contract(t), "house rule, RFC 9112 §7.1: a body of unknown length is chunked", "response.go, Flush", get("/stream/3")+get("/stream/0", closeField))

	r := s.parseAll(t, getMethods(2)...)
	s.wantSame(t, "Transfer-Encoding", "chunked", r[0].fields["transfer-encoding"])
	s.wantSame(t, "the body", "line 1\nline 2\nline 3\n", r[0].body)
	s.wantSame(t, "the body", "", r[1].body)
}

func TestUnreadBodyIsSkipped(t *testing.T) {
	s := sendAndRead(t, contract(t), "MUST, RFC 9112 §9.3: read the whole body or close the connection", "body.go, discard",
		post("/none", "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")+get("/", closeField))

	r := s.parseUntilClose(t, "POST", "GET")
	s.wantSame(t, "the status", "404", r[0].status[:3])
	s.wantSameNext(t, "the body", "Hello, World!\n", r[1:])
}

func TestContinueIsSentWhenTheBodyIsWanted(t *testing.T) {
	head := "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n" + closeField + "\r\n"
	c := converse(t, contract(t), get("/sleep/20ms")+head)
	story := transcript{sent: get("/sleep/20ms") + head, rule: "MUST, RFC 9110 §10.1.1: Expect: 100-continue gets 100 Continue or a final status", look: "handlerio.go, readMoreBody"}
	in := bufio.NewReader(c)
	_, _, err := readResponse(in) // to /sleep: the 100 follows in request order
	require.NoError(t, err, story.rule)
	requireRead(t, in, story, "HTTP/1.1 100 ")
	for line := "100"; line != "" && err == nil; {
		line, err = readLine(in)
	}

	io.WriteString(c, "hello")

	rest, err := io.ReadAll(in)
	story.got, story.end = string(rest), err
	story.wantPrefix(t, "HTTP/1.1 200 ")
	story.wantSame(t, "the body", "hello", story.parseAll(t, "POST")[0].body)
}

// The server does not send 100 Continue for a body that no handler reads. The
// client may send the body or not, so only a close makes the framing certain.
func TestContinueIsNotSentWhenTheBodyIsNotWanted(t *testing.T) {
	s := sendAndRead(t, contract(t), "house rule, RFC 9110 §10.1.1: no 100 Continue for a body that no handler reads, and the connection closed", "body.go, discard",
		"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"+get("/", closeField))

	s.wantPrefix(t, "HTTP/1.1 404 ")
	s.wantSame(t, "Connection", "close", strings.ToLower(s.parseAll(t, "POST")[0].fields["connection"]))
	s.wantCleanEnd(t)
}

// A handler may begin its response before it reads the body. Then it is too
// late for 100 Continue, which would become part of the response body: the
// client sends the body unasked, or not, and the response says Connection:
// close.
func TestContinueIsNotSentInsideAResponse(t *testing.T) {
	for name, framing := range map[string]string{"a length": "Content-Length: 5\r\n\r\nhello", "chunks": "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"} {
		r := startServer(t, withHandler(func(w *server.Response, r *server.Request) {
			w.WriteString("first, ")
			w.Flush()
			body, _ := r.Body.ReadAll()
			w.Write(body)
		}))
		head, body, _ := strings.Cut(framing, "\r\n\r\n")
		head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n" + head + "\r\n\r\n"
		c := converse(t, r.addr, head)
		s := transcript{sent: head, rule: "MUST, RFC 9110 §15.2: interim responses precede the final one", look: "handlerio.go, readMoreBody"}
		got := readUntil(t, c, "first, ")

		io.WriteString(c, body)

		s = s.readAll(c)
		s.got = got + s.got
		a := s.parseAll(t, "POST")[0]
		s.wantSame(t, "the body of a request with "+name, "first, hello", a.body)
		s.wantSame(t, "Connection", "close", a.fields["connection"])
		s.wantCleanEnd(t)
	}
}

func TestHTTP10ClientsAreServed(t *testing.T) {
	addr := contract(t)
	const look = "request.go, Persists; response.go, appendHead"

	closed := sendAndRead(t, addr, "MUST, RFC 9112 §9.3: an HTTP/1.0 connection is closed unless the client sent keep-alive", look, "GET / HTTP/1.0\r\n\r\n"+get("/"))
	closed.wantSame(t, "the body", "Hello, World!\n", closed.allowAnyVersion().parseAll(t, "GET")[0].body)
	closed.wantCleanEnd(t)

	streamed := sendAndRead(t, addr, "MUST NOT, RFC 9112 §6.1, §6.3: no Transfer-Encoding to HTTP/1.0, so a body of unknown length ends with the connection", look, "GET /stream/2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	r := streamed.allowAnyVersion().parse(t)
	streamed.wantSame(t, "Transfer-Encoding", "", r.fields["transfer-encoding"])
	streamed.wantSame(t, "the body, up to the close", "line 1\nline 2\n", r.body)
	streamed.wantCleanEnd(t)

	kept := sendAndRead(t, addr, "house rule, RFC 9112 §9.3: HTTP/1.0 keep-alive is honoured, and the response says so", look, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"+get("/", closeField))
	kept.wantSame(t, "Connection", "keep-alive", strings.ToLower(kept.allowAnyVersion().parseAll(t, getMethods(2)...)[0].fields["connection"]))

	closed.rule = "SHOULD, RFC 9110 §6.2: the response has the server's highest version, not the client's"
	closed.wantPrefix(t, "HTTP/1.1 ")
}

func TestRefusedUploadGetsAResponseAndNoReset(t *testing.T) {
	c := dial(t, contract(t))
	sent := "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\n"
	io.WriteString(c, sent)
	for range 16 {
		c.Write(make([]byte, 1<<20))
	}

	s := transcript{sent: sent + "and 16 MiB", rule: ruleCloseInStages, look: "conn.go, nextAction"}.readAll(c)

	s.wantPrefix(t, "HTTP/1.1 413 ")
	s.wantCleanEnd(t)
}

func TestAnswersGoClient(t *testing.T) {
	addr := contract(t)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := http.Client{Timeout: patience(), Transport: transport}

	answer, err := client.Post("http://"+addr+"/echo", "text/plain", io.MultiReader(strings.NewReader("in "), strings.NewReader("chunks")))

	require.NoError(t, err, "rule: house rule: a well-known client is served")
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	assert.Equal(t, "in chunks", string(body))
}

func TestAnswersCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	addr := "http://" + contract(t)
	upload := filepath.Join(t.TempDir(), "upload")
	require.NoError(t, os.WriteFile(upload, make([]byte, 2<<20), 0o600))
	for name, args := range map[string][]string{
		"keep-alive":  {addr, addr},
		"HTTP/1.0":    {"--http1.0", addr},
		"upload":      {"-T", upload, "-o", os.DevNull, addr + "/echo"},
		"with Expect": {"-H", "Expect: 100-continue", "-d", "hello", addr + "/echo"},
		"chunked":     {"-H", "Transfer-Encoding: chunked", "-d", "hello", addr + "/echo"},
		"stream":      {addr + "/stream/100"},
		"head":        {"-I", addr},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.Command("curl", append([]string{"--silent", "--show-error", "--fail", "--max-time", fmt.Sprint(patience().Seconds())}, args...)...).CombinedOutput()

			assert.NoError(t, err, "rule: house rule: a well-known client is served: curl %v: %s", args, out)
		})
	}
}

func TestFilesWithConditionsAndRanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("0123456789"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", "index.html"), []byte("<p>"), 0o600))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600))
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600)) // opening a FIFO blocks until it has a writer
	files, err := filesRoute(dir, false)
	require.NoError(t, err)
	r := startServer(t, withHandler(routes(files)))
	first := sendAndRead(t, r.addr, "RFC 9110 §8.8", "files.go", get("/files/a.txt", closeField)).wantFramed(t)
	changed, err := time.Parse(http1.DateFormat, first.fields["last-modified"])
	require.NoError(t, err)
	tag, old := strongTag(t, r.addr, "/files/a.txt"), changed.Add(-time.Second).Format(http1.DateFormat)

	for name, c := range map[string]struct{ path, field, status, body string }{
		"whole":           {"/files/a.txt", "", "200", "0123456789"},
		"not changed":     {"/files/a.txt", "If-None-Match: " + tag, "304", ""},
		"changed":         {"/files/a.txt", "If-None-Match: \"x\"", "200", "0123456789"},
		"not since":       {"/files/a.txt", "If-Modified-Since: " + first.fields["last-modified"], "304", ""},
		"in RFC 850's":    {"/files/a.txt", "If-Modified-Since: " + changed.Format("Monday, 02-Jan-06 15:04:05 GMT"), "304", ""},
		"in asctime's":    {"/files/a.txt", "If-Modified-Since: " + changed.Format(time.ANSIC), "304", ""},
		"since":           {"/files/a.txt", "If-Modified-Since: " + old, "200", "0123456789"},
		"no date":         {"/files/a.txt", "If-Modified-Since: yesterday", "200", "0123456789"},
		"tag over date":   {"/files/a.txt", "If-None-Match: \"x\"\r\nIf-Modified-Since: " + first.fields["last-modified"], "200", "0123456789"},
		"second list":     {"/files/a.txt", "If-None-Match: \"x\"\r\nIf-None-Match: \"y\", W/" + tag, "304", ""},
		"match":           {"/files/a.txt", "If-Match: \"x\", " + tag, "200", "0123456789"},
		"no match":        {"/files/a.txt", "If-Match: \"x\"", "412", ""},
		"a weak match":    {"/files/a.txt", "If-Match: W/" + tag, "412", ""},
		"changed since":   {"/files/a.txt", "If-Unmodified-Since: " + old, "412", ""},
		"same since":      {"/files/a.txt", "If-Unmodified-Since: " + first.fields["last-modified"], "200", "0123456789"},
		"range":           {"/files/a.txt", "Range: bytes=2-4", "206", "234"},
		"open range":      {"/files/a.txt", "Range: bytes=7-", "206", "789"},
		"last bytes":      {"/files/a.txt", "Range: bytes=-3", "206", "789"},
		"past the end":    {"/files/a.txt", "Range: bytes=10-", "416", ""},
		"not a range":     {"/files/a.txt", "Range: lines=1-2", "200", "0123456789"},
		"same version":    {"/files/a.txt", "Range: bytes=2-4\r\nIf-Range: " + tag, "206", "234"},
		"another version": {"/files/a.txt", "Range: bytes=2-4\r\nIf-Range: \"x\"", "200", "0123456789"},
		"nothing in it":   {"/files/empty", "", "200", ""},
		"a pipe":          {"/files/pipe", "", "404", "404 Not Found: there is no such file\n"},
		"directory":       {"/files/sub/", "", "200", "<p>"},
		"without slash":   {"/files/sub", "", "301", ""},
		"missing":         {"/files/b.txt", "", "404", "404 Not Found: there is no such file\n"},
		"dots":            {"/files/../main.go", "", "404", "404 Not Found: there is no such file\n"},
		"escaped dots":    {"/files/%2e%2e/main.go", "", "404", "404 Not Found: there is no such file\n"},
		"a link out":      {"/files/link", "", "404", "404 Not Found: there is no such file\n"},
	} {
		t.Run(name, func(t *testing.T) {
			fields := []string{closeField}
			if c.field != "" {
				fields = append(fields, c.field+"\r\n")
			}
			s := sendAndRead(t, r.addr, "RFC 9110 §13 and §14", "files.go", get(c.path, fields...))

			s.wantPrefix(t, "HTTP/1.1 "+c.status+" ")
			assert.Equal(t, c.body, s.parseAll(t, "GET")[0].body)
		})
	}
}
