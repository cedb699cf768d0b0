package http2

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheStaticTableIsRFC7541s(t *testing.T) {
	assert.Len(t, staticTable, 62, "61 fields, counted from 1")
	for i, f := range staticTable[1:] {
		index, both := staticIndex(f.Name, f.Value)
		assert.Equal(t, i+1, index, string(f.Name))
		assert.True(t, both)
	}
	for index, name := range map[int]string{1: ":authority", 2: ":method", 8: ":status", 15: "accept-charset", 16: "accept-encoding", 32: "cookie", 55: "set-cookie", 61: "www-authenticate"} {
		assert.Equal(t, name, string(staticTable[index].Name))
	}
}

func TestFieldsAreEncodedWithoutState(t *testing.T) {
	long := strings.Repeat("x", 127)
	for _, c := range []struct{ name, value, want string }{
		{":method", "GET", "82"},
		{":method", "POST", "83"},
		{":method", "PUT", "02 03" + hex.EncodeToString([]byte("PUT"))},
		{":scheme", "https", "87"},
		{":path", "/", "84"},
		{":authority", "a", "01 01 61"},
		{"accept-encoding", "gzip, deflate", "90"},
		{"accept-encoding", "br", "0f 01 02 6272"},
		{"accept-charset", "", "8f"}, // a field of the table, as it stands
		{"www-authenticate", "a", "0f 2e 01 61"},
		{"x", "yz", "00 01 78 02 797a"},
		{"x", long, "00 01 78 7f 00" + hex.EncodeToString([]byte(long))},
		{"x", long + "y", "00 01 78 7f 01" + hex.EncodeToString([]byte(long+"y"))},
		{"authorization", "a", "1f 08 01 61"},
		{"proxy-authorization", "a", "1f 22 01 61"},
		{"set-cookie", "a", "1f 28 01 61"},
		{"cookie", "a", "1f 11 01 61"},
		{"cookie", long[:20], "0f 11 14" + strings.Repeat("78", 20)},
	} {
		got := AppendField([]byte("kept"), []byte(c.name), []byte(c.value))
		assert.Equal(t, append([]byte("kept"), unhex(t, c.want)...), got, "%s: %s", c.name, c.value)

		decoded, refused := NewDecoder(0, 1000).Decode(got[4:], nil)
		require.Nil(t, refused)
		assert.Equal(t, c.name+": "+c.value+"\n", text(decoded))
	}
}

func TestARequestBeginsWithItsPseudoFields(t *testing.T) {
	b := AppendRequestHead(nil, []byte("GET"), []byte("http"), []byte("socket.up"), []byte("/a?b"))
	got, refused := NewDecoder(0, 1000).Decode(b, nil)
	require.Nil(t, refused)
	assert.Equal(t, ":method: GET\n:scheme: http\n:authority: socket.up\n:path: /a?b\n", text(got))
}

func TestFieldsOfHTTP1AreTranslated(t *testing.T) {
	long := "X-" + strings.Repeat("Long-", 100)
	for name, c := range map[string]struct{ in, want string }{
		"nothing":               {"", ""},
		"lower case":            {"User-Agent: A\r\nX-ABZ[: B\r\n", "user-agent: A\nx-abz[: B\n"},
		"white space":           {"A:b\r\nC: \t d e \t\r\n", "a: b\nc: d e\n"},
		"empty":                 {"Accept:\r\nB: \r\n", "accept: \nb: \n"},
		"a long name":           {long + ": b\r\n", strings.ToLower(long) + ": b\n"},
		"colons in the value":   {"Referer: http://a:80/\r\n", "referer: http://a:80/\n"},
		"of the connection":     {"Connection: close\r\nKeep-Alive: 5\r\nPROXY-CONNECTION: close\r\nTransfer-Encoding: chunked\r\nupgrade: h2c\r\nA: b\r\n", "a: b\n"},
		"the host":              {"Host: socket.up\r\nX-Host: b\r\n", "x-host: b\n"},
		"TE":                    {"TE: trailers\r\nTE: gzip\r\nTE: trailers, gzip\r\n", "te: trailers\n"},
		"repeated":              {"Cookie: a\r\nCookie: b\r\n", "cookie: a\ncookie: b\n"},
		"without its last CRLF": {"A: b", "a: b\n"},
		"without a colon":       {"A b\r\nC: d\r\n", "c: d\n"},
	} {
		got, refused := NewDecoder(0, 10000).Decode(AppendRequestFields(nil, []byte(c.in)), nil)
		require.Nil(t, refused)
		assert.Equal(t, c.want, text(got), name)
	}
}

func TestEncodingDoesNotAllocate(t *testing.T) {
	b, lines := make([]byte, 0, 4096), []byte(browserLines)
	allocs := testing.AllocsPerRun(100, func() { b = AppendRequestFields(b[:0], lines) })
	assert.Zero(t, allocs)
	got, refused := NewDecoder(0, 16<<10).Decode(b, nil)
	require.Nil(t, refused)
	assert.Len(t, got, 14, "all but Host and Connection")
}
