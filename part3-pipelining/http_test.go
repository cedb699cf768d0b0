package main

import (
	"bufio"
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
)

// What HTTP/1.1 demands of an origin server, asked from outside: any server
// with the routes of part 3 can be judged.

func TestHelloToTheByte(t *testing.T) {
	s := tell(t, contract(t), "MUST, RFC 9112 §2.1: status line, fields and empty line end in CRLF", "response.go, appendHead", get("/", closing))

	s.begins(t, "HTTP/1.1 200 ")
	r := s.framed(t)
	assert.Equal(t, "Hello, World!\n", r.body)
	assert.Equal(t, "close", strings.ToLower(r.fields["connection"]), "MUST, RFC 9112 §9.6")
	s.endsCleanly(t)
}

func TestEveryAnswerHasADate(t *testing.T) {
	s := tell(t, contract(t), "MUST, RFC 9110 §6.6.1: a server with a clock sends Date", "clock.go, clock", get("/")+get("/none", closing))

	for _, r := range s.replies(t, gets(2)...) {
		date, err := time.Parse(dateFormat, r.fields["date"])
		if err != nil {
			s.fail(t, 0, "Date is %q, not an IMF-fixdate in GMT", r.fields["date"])
		}
		assert.WithinDuration(t, time.Now(), date, 10*time.Second)
	}
}

func TestMethodsAndPaths(t *testing.T) {
	addr := contract(t)
	for name, c := range map[string]struct{ sent, status string }{
		"unknown path":              {get("/none", closing), "404"},
		"query":                     {get("/?a=b", closing), "200"},
		"unknown method":            {strings.Replace(get("/", closing), "GET", "BREW", 1), "501"},
		"methods have one case":     {strings.Replace(get("/", closing), "GET", "get", 1), "501"},
		"absolute target":           {strings.Replace(get("/", closing), " / ", " http://socket.up/ ", 1), "200"},
		"absolute without a path":   {strings.Replace(get("/", closing), " / ", " HTTP://socket.up ", 1), "200"},
		"sleep without a duration":  {get("/sleep/soon", closing), "400"},
		"sleep of two minutes":      {get("/sleep/2m", closing), "400"},
		"stream without a number":   {get("/stream/many", closing), "400"},
		"an empty line before":      {"\r\n" + get("/", closing), "200"},
		"HTTP/1.0 without Host":     {"GET / HTTP/1.0\r\n\r\n", "200"},
		"HTTP/1.7 is 1.1":           {strings.Replace(get("/", closing), "1.1", "1.7", 1), "200"},
		"a target of 8,000 bytes":   {get("/?"+strings.Repeat("a", 7998), closing), "200"},
		"a target of 2 MiB":         {get("/" + strings.Repeat("a", 2<<20)), "414"},
		"a field of 2 MiB":          {get("/", "Long: "+strings.Repeat("a", 2<<20)+"\r\n"), "431"},
		"ten thousand fields":       {get("/", strings.Repeat("A: b\r\n", 10_000)), "431"},
		"a body of 1 TiB announced": {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\n", "413"},
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(t, addr, "RFC 9110 §9.1, §15; RFC 9112 §3", "routes.go, dispatch; request.go, parseLine", c.sent)

			s.begins(t, "HTTP/1.1 "+c.status+" ")
			s.framed(t)
			s.endsCleanly(t)
		})
	}
}

func TestWrongMethodIsToldWhichAreAllowed(t *testing.T) {
	addr := contract(t)
	for sent, allowed := range map[string]string{
		strings.Replace(post("/", "", closing), "POST", "DELETE", 1): "GET",
		get("/echo", closing): "POST",
	} {
		s := tell(t, addr, "MUST, RFC 9110 §15.5.6: 405 has an Allow field", "routes.go, serve", sent)

		s.begins(t, "HTTP/1.1 405 ")
		assert.Contains(t, s.framed(t).fields["allow"], allowed)
	}
}

func TestOptionsOfTheServer(t *testing.T) {
	s := tell(t, contract(t), "RFC 9110 §9.3.7: OPTIONS *", "routes.go, allow", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"+get("/", closing))

	s.begins(t, "HTTP/1.1 2")
	r := s.replies(t, "OPTIONS", "GET")
	assert.Contains(t, r[0].fields["allow"], "GET")
}

func TestHeadHasTheFieldsOfGetAndNoBody(t *testing.T) {
	s := tell(t, contract(t), "MUST NOT, RFC 9110 §9.3.2: no content in the answer to HEAD", "response.go, bodiless",
		strings.Replace(get("/"), "GET", "HEAD", 1)+strings.Replace(get("/stream/3"), "GET", "HEAD", 1)+get("/", closing))

	r := s.replies(t, "HEAD", "HEAD", "GET")
	assert.Equal(t, "14", r[0].fields["content-length"])
	assert.Empty(t, r[1].fields["content-length"])
	assert.Equal(t, "Hello, World!\n", r[2].body)
}

// Every doubt about where a request ends is 400 and the end of the connection:
// what follows may be the attack.
func TestDoubtfulFramingIsRefused(t *testing.T) {
	addr := contract(t)
	chunked := "Transfer-Encoding: chunked\r\n"
	post := func(fields, body string) string {
		return "POST /echo HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n" + body
	}
	for name, c := range map[string]struct{ sent, status string }{
		"no Host":                       {"GET / HTTP/1.1\r\n\r\n", "400"},
		"two Hosts":                     {get("/", "Host: y\r\n"), "400"},
		"a bad Host":                    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"},
		"a bad port":                    {"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "400"},
		"space before the colon":        {get("/", "Content-Length : 5\r\n"), "400"},
		"no name":                       {get("/", ": x\r\n"), "400"},
		"no colon":                      {get("/", "Content-Length\r\n"), "400"},
		"a folded line":                 {get("/", "A: b\r\n c\r\n"), "400"},
		"a line before the first field": {"GET / HTTP/1.1\r\n Host: x\r\n\r\n", "400"},
		"bare LF":                       {"GET / HTTP/1.1\nHost: x\n\n", "400"},
		"bare LF in the fields":         {"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", "400"},
		"bare CR in a value":            {get("/", "A: b\rc\r\n"), "400"},
		"NUL in a value":                {get("/", "A: b\x00c\r\n"), "400"},
		"two spaces":                    {"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		"a tab for a space":             {"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		"space behind the version":      {"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", "400"},
		"no version":                    {"GET /\r\n\r\n", "400"},
		"lower case version":            {"GET / http/1.1\r\nHost: x\r\n\r\n", "400"},
		"HTTP/2":                        {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "505"},
		"a relative target":             {get("x"), "400"},
		"a fragment":                    {get("/#a"), "400"},
		"star for GET":                  {get("*"), "400"},
		"https":                         {get("https://x/"), "421"},
		"garbage":                       {"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", "400"},
		"two lengths":                   {post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), "400"},
		"a list of lengths":             {post("Content-Length: 5, 5\r\n", "hello"), "400"},
		"a length with a sign":          {post("Content-Length: +5\r\n", "hello"), "400"},
		"a negative length":             {post("Content-Length: -5\r\n", "hello"), "400"},
		"a length in hexadecimal":       {post("Content-Length: 0x5\r\n", "hello"), "400"},
		"an empty length":               {post("Content-Length: \r\n", ""), "400"},
		"a length of 100 digits":        {post("Content-Length: "+strings.Repeat("9", 100)+"\r\n", ""), "413"},
		"length and chunked":            {post(chunked+"Content-Length: 5\r\n", "0\r\n\r\n"), "400"},
		"chunked and length":            {post("Content-Length: 5\r\n"+chunked, "0\r\n\r\n"), "400"},
		"chunked twice":                 {post(chunked+chunked, "0\r\n\r\n"), "400"},
		"chunked, chunked":              {post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), "400"},
		"not chunked at the end":        {post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"), "400"},
		"identity":                      {post("Transfer-Encoding: identity\r\n", ""), "400"},
		"xchunked":                      {post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), "400"},
		"vertical tab chunked":          {post("Transfer-Encoding: \vchunked\r\n", "0\r\n\r\n"), "400"},
		"gzip, chunked":                 {post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), "501"},
		"chunked in HTTP/1.0":           {"POST /echo HTTP/1.0\r\nHost: x\r\n" + chunked + "\r\n0\r\n\r\n", "400"},
		"a size without digits":         {post(chunked, ";a\r\n\r\n0\r\n\r\n"), "400"},
		"a size with 0x":                {post(chunked, "0x5\r\nhello\r\n0\r\n\r\n"), "400"},
		"a size with a sign":            {post(chunked, "+5\r\nhello\r\n0\r\n\r\n"), "400"},
		"a negative size":               {post(chunked, "-5\r\nhello\r\n0\r\n\r\n"), "400"},
		"space before a size":           {post(chunked, " 5\r\nhello\r\n0\r\n\r\n"), "400"},
		"bare LF behind a size":         {post(chunked, "5\nhello\r\n0\r\n\r\n"), "400"},
		"bare CR in an extension":       {post(chunked, "5;a=\rb\r\nhello\r\n0\r\n\r\n"), "400"},
		"a chunk that is longer":        {post(chunked, "3\r\nhello\r\n0\r\n\r\n"), "400"},
		"bare LF behind a chunk":        {post(chunked, "5\r\nhello\n0\r\n\r\n"), "400"},
		"a size of 2^64":                {post(chunked, "10000000000000000\r\nhello\r\n0\r\n\r\n"), "413"},
		"a bad trailer":                 {post(chunked, "0\r\nA : b\r\n\r\n"), "400"},
		"another expectation":           {get("/", "Expect: a-miracle\r\n"), "417"},
		"CONNECT":                       {"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", "501"},
		"HTTP/2 preface":                {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"},
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(t, addr, "MUST, RFC 9112 §2.2, §3.2, §5.1, §6: a message that cannot be framed for certain is refused, and the connection closed",
				"request.go, parse; body.go, take", c.sent+get("/smuggled"))

			s.begins(t, "HTTP/1.1 "+c.status+" ")
			s.framed(t) // and nothing behind it
			s.endsCleanly(t)
		})
	}
}

func TestEchoOfAllFramings(t *testing.T) {
	addr := contract(t)
	large := strings.Repeat("0123456789abcdef", 64<<10/16)
	for name, c := range map[string]struct{ sent, body string }{
		"Content-Length":       {post("/echo", "hello"), "hello"},
		"PUT":                  {strings.Replace(post("/echo", "hello"), "POST", "PUT", 1), "hello"},
		"empty":                {post("/echo", ""), ""},
		"none":                 {"POST /echo HTTP/1.1\r\nHost: x\r\n\r\n", ""},
		"64 KiB":               {post("/echo", large), large},
		"1 MiB":                {post("/echo", strings.Repeat(large, 16)), strings.Repeat(large, 16)},
		"chunked":              {chunkedPost("5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n"), "hello, world"},
		"chunk extensions":     {chunkedPost("5;a=b;c=\"d\"\r\nhello\r\n0;last\r\n\r\n"), "hello"},
		"capitals and zeros":   {chunkedPost("000A\r\n0123456789\r\n00\r\n\r\n"), "0123456789"},
		"trailers":             {chunkedPost("5\r\nhello\r\n0\r\nDigest: x\r\nContent-Length: 99\r\n\r\n"), "hello"},
		"chunks and 64 KiB":    {chunkedPost("10000\r\n" + large + "\r\n1\r\nx\r\n0\r\n\r\n"), large + "x"},
		"CRLF behind the body": {post("/echo", "hello") + "\r\n", "hello"},
	} {
		t.Run(name, func(t *testing.T) {
			s := tell(t, addr, "MUST, RFC 9112 §6 and §7.1: a body ends where its framing says, and the next request begins there", "body.go, take",
				c.sent+get("/", closing))

			r := s.replies(t, "POST", "GET")
			require.Equal(t, "200", r[0].status[:3])
			require.Equal(t, c.body, r[0].body)
			require.Equal(t, "Hello, World!\n", r[1].body, "the request behind the body")
		})
	}
}

func chunkedPost(body string) string {
	return "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: text/x-test\r\nTransfer-Encoding: chunked\r\n\r\n" + body
}

func TestEchoKeepsTheContentType(t *testing.T) {
	s := tell(t, contract(t), "the contract of /echo", "routes.go, echo", post("/echo", "{}", "Content-Type: application/json\r\n", closing))

	assert.Equal(t, "application/json", s.framed(t).fields["content-type"])
}

func TestChunkedRequestOneByteAtATime(t *testing.T) {
	sent := chunkedPost("5\r\nhello\r\n0\r\nA: b\r\n\r\n") + get("/", closing)
	s := tell(t, contract(t), "TCP is a stream: a read may return any part of what was sent, read(2)", "body.go, take", strings.Split(sent, "")...)

	r := s.replies(t, "POST", "GET")
	assert.Equal(t, "hello", r[0].body)
}

func TestStreamComesInChunksAsItIsMade(t *testing.T) {
	s := tell(t, contract(t), "RFC 9112 §7.1: a body of unknown length is chunked", "response.go, flush", get("/stream/3")+get("/stream/0", closing))

	r := s.replies(t, gets(2)...)
	assert.Equal(t, "chunked", r[0].fields["transfer-encoding"])
	assert.Equal(t, "line 1\nline 2\nline 3\n", r[0].body)
	assert.Empty(t, r[1].body)
}

func TestUnreadBodyIsSkipped(t *testing.T) {
	s := tell(t, contract(t), "MUST, RFC 9112 §9.3: read the whole body or close the connection", "body.go, discard",
		post("/none", "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")+get("/", closing))

	r := s.replies(t, "POST", "GET")
	assert.Equal(t, "404", r[0].status[:3])
	assert.Equal(t, "Hello, World!\n", r[1].body)
}

func TestContinueIsSentWhenTheBodyIsWanted(t *testing.T) {
	head := "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n" + closing + "\r\n"
	c := converse(t, contract(t), get("/sleep/20ms")+head)
	story := story{sent: head, rule: "MUST, RFC 9110 §10.1.1: 100 Continue, or a final status, to who expects it", look: "alone.go, fill"}
	in := bufio.NewReader(c)
	_, _, err := readResponse(in) // to /sleep: the 100 comes in its turn
	require.NoError(t, err)
	line, err := readLine(in)
	require.NoError(t, err)
	require.Regexp(t, "^HTTP/1.1 100 ", line)
	_, err = readLine(in)
	require.NoError(t, err)

	io.WriteString(c, "hello")

	rest, err := io.ReadAll(in)
	story.got, story.end = string(rest), err
	story.begins(t, "HTTP/1.1 200 ")
	assert.Equal(t, "hello", story.framed(t).body)
}

// A body that nobody wants is not asked for. The client may send it or not:
// only a close makes sure of what comes next.
func TestContinueIsNotSentWhenTheBodyIsNotWanted(t *testing.T) {
	s := tell(t, contract(t), "RFC 9110 §10.1.1: a final status at once", "body.go, discard",
		"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")

	s.begins(t, "HTTP/1.1 404 ")
	assert.Equal(t, "close", strings.ToLower(s.framed(t).fields["connection"]))
	s.endsCleanly(t)
}

func TestHTTP10(t *testing.T) {
	addr := contract(t)
	const look = "request.go, persists; response.go, appendHead"

	closed := tell(t, addr, "MUST, RFC 9112 §9.3: HTTP/1.0 closes, unless it asks not to", look, "GET / HTTP/1.0\r\n\r\n"+get("/"))
	assert.Equal(t, "Hello, World!\n", closed.framed(t).body)
	closed.endsCleanly(t)

	kept := tell(t, addr, "RFC 9112 §9.3: keep-alive is told to HTTP/1.0", look, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"+get("/", closing))
	assert.Equal(t, "keep-alive", strings.ToLower(kept.replies(t, gets(2)...)[0].fields["connection"]))

	streamed := tell(t, addr, "MUST NOT, RFC 9112 §6.1: no Transfer-Encoding to HTTP/1.0", look, "GET /stream/2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	r := streamed.reply(t)
	assert.Empty(t, r.fields["transfer-encoding"])
	assert.Equal(t, "line 1\nline 2\n", r.body, "up to the end of the connection")
	streamed.endsCleanly(t)
}

func TestRefusedUploadIsToldAndNotReset(t *testing.T) {
	c := dial(t, contract(t))
	sent := "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\n"
	io.WriteString(c, sent)
	for range 16 {
		c.Write(make([]byte, 1<<20))
	}

	s := story{sent: sent + "and 16 MiB", rule: "RFC 9112 §9.6: close in stages, or the client may not see the answer", look: "conn.go, settle"}.hear(c)

	s.begins(t, "HTTP/1.1 413 ")
	s.endsCleanly(t)
}

func TestAnswersGoClient(t *testing.T) {
	addr := contract(t)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := http.Client{Timeout: limit, Transport: transport}

	answer, err := client.Post("http://"+addr+"/echo", "text/plain", io.MultiReader(strings.NewReader("in "), strings.NewReader("chunks")))

	require.NoError(t, err)
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
			out, err := exec.Command("curl", append([]string{"--silent", "--show-error", "--fail", "--max-time", "10"}, args...)...).CombinedOutput()

			assert.NoError(t, err, "%s", out)
		})
	}
}

func TestFilesWithConditionsAndRanges(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("0123456789"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", "index.html"), []byte("<p>"), 0o600))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600))
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600)) // opening one waits for a writer
	files, err := filesRoute(dir)
	require.NoError(t, err)
	r := start(t, with(routes(files)))
	first := tell(t, r.addr, "RFC 9110 §8.8", "files.go", get("/files/a.txt", closing)).framed(t)

	for name, c := range map[string]struct{ path, field, status, body string }{
		"whole":           {"/files/a.txt", "", "200", "0123456789"},
		"not changed":     {"/files/a.txt", "If-None-Match: " + first.fields["etag"], "304", ""},
		"changed":         {"/files/a.txt", "If-None-Match: \"x\"", "200", "0123456789"},
		"not since":       {"/files/a.txt", "If-Modified-Since: " + first.fields["last-modified"], "304", ""},
		"range":           {"/files/a.txt", "Range: bytes=2-4", "206", "234"},
		"open range":      {"/files/a.txt", "Range: bytes=7-", "206", "789"},
		"last bytes":      {"/files/a.txt", "Range: bytes=-3", "206", "789"},
		"past the end":    {"/files/a.txt", "Range: bytes=10-", "416", ""},
		"not a range":     {"/files/a.txt", "Range: lines=1-2", "200", "0123456789"},
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
			fields := []string{closing}
			if c.field != "" {
				fields = append(fields, c.field+"\r\n")
			}
			s := tell(t, r.addr, "RFC 9110 §13 and §14", "files.go", get(c.path, fields...))

			s.begins(t, "HTTP/1.1 "+c.status+" ")
			assert.Equal(t, c.body, s.replies(t, "GET")[0].body)
		})
	}
}
