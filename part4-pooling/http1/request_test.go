package http1

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParserParsesARequest(t *testing.T) {
	var r RequestHead
	head := "POST http://a.b:80/c%20d?e=f HTTP/1.1\r\nHOST: other\r\nX-Empty:\r\nX-Space: \t a b \t\r\nConnection: TE , Close\r\nContent-Length: 007\r\nExpect: 100-Continue\r\n\r\n"

	require.Nil(t, r.Parse([]byte(head), 100))

	assert.Equal(t, "POST", string(r.Method))
	assert.Equal(t, "/c%20d", string(r.Path))
	assert.Equal(t, "e=f", string(r.Query))
	assert.Equal(t, "a.b:80", string(r.Host), "RFC 9112 §3.2.2: an absolute target knows better than Host")
	assert.Equal(t, "", string(r.Get("x-empty")))
	assert.Equal(t, "a b", string(r.Get("x-space")))
	assert.Nil(t, r.Get("x-none"))
	assert.EqualValues(t, 7, r.Length)
	assert.True(t, r.closeAfter && r.ExpectContinue)
	assert.False(t, r.Persists() || r.IsSafe())
}

func TestParserDecidesPersistence(t *testing.T) {
	for head, persists := range map[string]bool{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n":                                                true,
		"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":                           false,
		"GET / HTTP/1.1\r\nHost: x\r\nConnection: closed\r\n\r\n":                          true,
		"GET / HTTP/1.0\r\n\r\n":                                                           false,
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n":                                 true,
		"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n":                          false,
		"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, close\r\n\r\n":               false,
		"GET / HTTP/1.1\r\nHost: x\r\nConnection: ,\t,close ,\r\n\r\n":                     false,
		"GET / HTTP/1.9\r\nHost: x\r\n\r\n":                                                true,
		"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nConnection: CLOSE\r\n\r\n": false,
	} {
		var r RequestHead
		require.Nil(t, r.Parse([]byte(head), 100), "%q", head)
		assert.Equal(t, persists, r.Persists(), "%q", head)
	}
}

func TestHostValidation(t *testing.T) {
	for _, host := range []string{"", "a", "a.b", "a:80", "a:", "127.0.0.1:8080", "[::1]", "[::1]:80", "xn--a", "a_b", "%41", "a%2Fb%c3", ":80"} {
		assert.True(t, ValidHost([]byte(host)), "%q", host)
	}
	for _, host := range []string{"a/b", "a b", "a@b", "a:b", "a:1:2", "::1", "[::1", "[::1]x", "[x]", "[]:1:", "a[", "é", "a?b", "a#b", "a,b:x", "%", "a%4", "a%4g", "%%41", "[::%1]", "user:secret@a", "\"a\""} {
		assert.False(t, ValidHost([]byte(host)), "%q", host)
	}
}

func TestValueSpanFindsEveryByteAtEveryOffset(t *testing.T) {
	for c := range 256 {
		for place := range 20 {
			b := []byte("\tabc défghi jk\tlmno\xff")
			b[place] = byte(c)
			want := place
			if c == '\t' || c >= ' ' && c != 127 {
				want = len(b)
			}
			assert.Equal(t, want, valueSpan(b), "byte %d at %d", c, place)
		}
	}
}

// No prefix of a head is taken for a head, and a wrong beginning is refused before
// the rest has arrived.
func TestHeadLengthIsFoundHoweverItIsFragmented(t *testing.T) {
	head := get("/", "A: b\r\n")
	for cut := range len(head) {
		assert.Zero(t, HeadLength([]byte(head[:cut]), 0), "%q", head[:cut])
		assert.Nil(t, CheckPartialHead([]byte(head[:cut]), 0, 1000), "%q", head[:cut])
		assert.Equal(t, len(head), HeadLength([]byte(head+"more"), cut), "looked at %d bytes before", cut)
	}
	assert.Equal(t, errLineEnding, CheckPartialHead([]byte("GET / HTTP/1.1\nHost"), 0, 1000))
	assert.Equal(t, errRequestLine, CheckPartialHead([]byte("\x16\x03"), 0, 1000))
	assert.Equal(t, errTargetTooLong, CheckPartialHead([]byte("GET /"+strings.Repeat("a", 100)), 0, 100))
	assert.Equal(t, errHeadTooLong, CheckPartialHead([]byte("GET / HTTP/1.1\r\n"+strings.Repeat("a", 100)), 0, 100))
}

func TestParserAllocatesNothing(t *testing.T) {
	head := []byte(get("/", "Accept: */*\r\nUser-Agent: test\r\n"))
	var r RequestHead
	r.Parse(head, 100)

	assert.Zero(t, testing.AllocsPerRun(100, func() { r.Parse(head, 100) }))
}
