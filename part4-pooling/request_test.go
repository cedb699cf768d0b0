package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParserTakesARequestApart(t *testing.T) {
	ours(t)
	var r requestHead
	head := "POST http://a.b:80/c%20d?e=f HTTP/1.1\r\nHOST: other\r\nX-Empty:\r\nX-Space: \t a b \t\r\nConnection: TE , Close\r\nContent-Length: 007\r\nExpect: 100-Continue\r\n\r\n"

	require.Nil(t, r.parse([]byte(head), 100))

	assert.Equal(t, "POST", string(r.method))
	assert.Equal(t, "/c%20d", string(r.path))
	assert.Equal(t, "e=f", string(r.query))
	assert.Equal(t, "a.b:80", string(r.host), "RFC 9112 §3.2.2: an absolute target knows better than Host")
	assert.Equal(t, "", string(r.get("x-empty")))
	assert.Equal(t, "a b", string(r.get("x-space")))
	assert.Nil(t, r.get("x-none"))
	assert.EqualValues(t, 7, r.length)
	assert.True(t, r.close && r.expected)
	assert.False(t, r.persists() || r.safe())
}

func TestParserKnowsWhatPersists(t *testing.T) {
	ours(t)
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
		var r requestHead
		require.Nil(t, r.parse([]byte(head), 100), "%q", head)
		assert.Equal(t, persists, r.persists(), "%q", head)
	}
}

func TestHostsThatAreAndAreNot(t *testing.T) {
	ours(t)
	for _, host := range []string{"", "a", "a.b", "a:80", "a:", "127.0.0.1:8080", "[::1]", "[::1]:80", "xn--a", "a_b", "%41", "a%2Fb%c3", ":80"} {
		assert.True(t, validHost([]byte(host)), "%q", host)
	}
	for _, host := range []string{"a/b", "a b", "a@b", "a:b", "a:1:2", "::1", "[::1", "[::1]x", "[x]", "[]:1:", "a[", "é", "a?b", "a#b", "a,b:x", "%", "a%4", "a%4g", "%%41", "[::%1]", "user:secret@a", "\"a\""} {
		assert.False(t, validHost([]byte(host)), "%q", host)
	}
}

func TestValueSpanLooksAtEveryByteAndPlace(t *testing.T) {
	ours(t)
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

// No part of a head is ever a head, and a wrong beginning is found before the end comes.
func TestHeadIsFoundWhereverItIsCut(t *testing.T) {
	ours(t)
	head := get("/", "A: b\r\n")
	for cut := range len(head) {
		assert.Zero(t, findHead([]byte(head[:cut]), 0), "%q", head[:cut])
		assert.Nil(t, hopeless([]byte(head[:cut]), 1000), "%q", head[:cut])
		assert.Equal(t, len(head), findHead([]byte(head+"more"), cut), "looked at %d bytes before", cut)
	}
	assert.Equal(t, errNewline, hopeless([]byte("GET / HTTP/1.1\nHost"), 1000))
	assert.Equal(t, errLine, hopeless([]byte("\x16\x03"), 1000))
	assert.Equal(t, errTargetLong, hopeless([]byte("GET /"+strings.Repeat("a", 100)), 100))
	assert.Equal(t, errHeadLong, hopeless([]byte("GET / HTTP/1.1\r\n"+strings.Repeat("a", 100)), 100))
}

// taken feeds text to a framing in pieces of n bytes, and returns the body and
// what is left behind it.
func taken(f framing, text string, n int) (body, rest string, refused *refusal) {
	in := ""
	for f.state != bodyEnd && refused == nil {
		piece, used, why := f.take([]byte(in), 1<<20)
		body, in, refused = body+string(piece), in[used:], why
		if used == 0 && refused == nil {
			if text == "" {
				return body, in, errBodyEnded
			}
			in, text = in+text[:min(n, len(text))], text[min(n, len(text)):]
		}
	}
	return body, in + text, refused
}

func TestFramingFindsTheEndHoweverItIsCut(t *testing.T) {
	ours(t)
	for text, body := range map[string]string{
		"0\r\n\r\n":               "",
		"5\r\nhello\r\n0\r\n\r\n": "hello",
		"1\r\na\r\n2;x=y\r\nbc\r\n0\r\nA: b\r\nC: d\r\n\r\n": "abc",
		"00b ; x\r\n0123456789a\r\n000\r\n\r\n":              "0123456789a",
	} {
		for n := 1; n <= len(text); n++ {
			f, refused := frame(chunked, 100, 1000)
			require.Nil(t, refused)
			got, rest, refused := taken(f, text+"GET", n)
			require.Nil(t, refused, "%q in pieces of %d", text, n)
			require.Equal(t, body, got, "%q in pieces of %d", text, n)
			require.Equal(t, "GET", rest, "%q in pieces of %d", text, n)
		}
	}
}

func TestTrailersAreKeptApart(t *testing.T) {
	ours(t)
	f, _ := frame(chunked, 100, 1000)
	for text := []byte("0\r\nHost: evil\r\nContent-Length: 99\r\n\r\n"); f.state != bodyEnd; {
		_, used, refused := f.take(text, 100)
		require.Nil(t, refused)
		text = text[used:]
	}
	require.Len(t, f.trailers, 2)
	assert.Equal(t, "evil", string(f.trailers[0].value), "in the trailers, not in the head")
}

func TestFramingIsBounded(t *testing.T) {
	ours(t)
	for name, c := range map[string]struct {
		text string
		want *refusal
	}{
		"body":              {"65\r\n", errBodyLong},
		"many chunks":       {strings.Repeat("1\r\na\r\n", 101), errBodyLong},
		"2^60":              {"1000000000000000\r\n", errBodyLong},
		"2^64+1":            {"10000000000000001\r\n", errBodyLong},
		"long extension":    {"1;" + strings.Repeat("a", 300), errChunk},
		"trailers":          {"0\r\nA: " + strings.Repeat("a", 1000), errHeadLong},
		"trailers, ended":   {"0\r\nA: " + strings.Repeat("a", 1000) + "\r\n\r\n", errHeadLong},
		"number of them":    {"0\r\n" + strings.Repeat("A: b\r\n", maxTrailers+1) + "\r\n", errTooMany},
		"bare LF in them":   {"0\r\nA: b\nC", errNewline},
		"ends in a chunk":   {"5\r\nhel", errBodyEnded},
		"ends before the 0": {"5\r\nhello\r\n", errBodyEnded},
	} {
		f, _ := frame(chunked, 100, 1000)
		_, _, refused := taken(f, c.text, len(c.text))
		assert.Equal(t, c.want, refused, name)
	}
	_, refused := frame(101, 100, 0)
	assert.Equal(t, errBodyLong, refused)
}

// Each line of a chunk is short enough, and all of them together are not: what
// the body's limit allows in data, its framing may not multiply.
func TestChunkExtensionsAreBoundedInAll(t *testing.T) {
	ours(t)
	const data, long = 100_000, 250 // chunks of one byte, bytes of extension
	read := func(line string, chunks int) (wire int, refused *refusal) {
		f, _ := frame(chunked, data, 1000)
		for range chunks {
			text := line + "\r\na\r\n"
			for text != "" && refused == nil {
				var used int
				_, used, refused = f.take([]byte(text), data)
				text, wire = text[used:], wire+used
			}
		}
		return wire, refused
	}

	wire, refused := read("1;"+strings.Repeat("e", long), data)
	assert.Equal(t, errExcess, refused, "house rule: the extensions of a body are bounded in all, not only each (framing.go, takeSize); %d bytes were read", wire)
	assert.Less(t, wire, 2*maxExcess)

	_, refused = read("1", data)
	assert.Nil(t, refused, "chunks of one byte are wasteful, not wrong")
	_, refused = read("1;sig=0123456789", data) // a short one each is what extensions are for
	assert.Nil(t, refused, "a short extension on every chunk is allowed")
	_, refused = read("1;"+strings.Repeat("e", long), 60)
	assert.Nil(t, refused, "a few long ones are allowed")
}

func TestParserAllocatesNothing(t *testing.T) {
	ours(t)
	head := []byte(get("/", "Accept: */*\r\nUser-Agent: test\r\n"))
	var r requestHead
	r.parse(head, 100)

	assert.Zero(t, testing.AllocsPerRun(100, func() { r.parse(head, 100) }))
}

func TestFieldWithALineEndIsLoud(t *testing.T) {
	ours(t)
	assert.Panics(t, func() { new(response).set("Location", "/\r\nSet-Cookie: a=b") }, "response splitting")
}
