package http2

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/http1"
)

func TestResponseHeads(t *testing.T) {
	for name, c := range map[string]struct {
		fields []http1.Field
		toHEAD bool
		want   string // status, length, Content-Length, how many fields
	}{
		"without a length":          {fields(":status", "200", "a", "b"), false, "200 -1 -2 1"},
		"with a length":             {fields(":status", "200", "content-length", "5", "a", ""), false, "200 5 5 2"},
		"with length 0":             {fields(":status", "599", "content-length", "0"), false, "599 0 0 1"},
		"to HEAD":                   {fields(":status", "200", "content-length", "5"), true, "200 0 5 1"},
		"to HEAD, without a length": {fields(":status", "200"), true, "200 0 -2 0"},
		"304":                       {fields(":status", "304", "content-length", "5"), false, "304 0 5 1"},
		"204":                       {fields(":status", "204"), false, "204 0 -2 0"},
		"204 with a length":         {fields(":status", "204", "content-length", "5"), false, "204 0 5 1"},
		"interim":                   {fields(":status", "103", "link", "</a>; rel=preload"), false, "103 0 -2 1"},
		"a tab and bytes above 127": {fields(":status", "200", "a", "b\tc\xff d"), false, "200 -1 -2 1"},
		"200 fields":                {append(fields(":status", "200"), many(200)...), false, "200 -1 -2 200"},
	} {
		h := http1.ResponseHead{Status: 1, Reason: []byte("old"), ContentLength: 9, Length: 9, ConnAuth: true}
		require.NoError(t, ParseResponseHead(&h, c.fields, c.toHEAD), name)
		assert.Equal(t, c.want, fmt.Sprint(h.Status, h.Length, h.ContentLength, len(h.Fields)), name)
		assert.False(t, h.ConnAuth || h.Reason != nil, name)
		assert.Equal(t, h.Length != http1.UntilClose, h.Persists(), name)
	}
}

func many(n int) []http1.Field { return fields(strings.Split(strings.Repeat("a,b,", n), ",")[:2*n]...) }

func TestMalformedResponses(t *testing.T) {
	for name, list := range map[string][]http1.Field{
		"nothing":                             nil,
		"§8.3.2 no status":                    fields("a", "b"),
		"§8.3.2 an empty status":              fields(":status", ""),
		"§8.3.2 two digits":                   fields(":status", "20"),
		"§8.3.2 four digits":                  fields(":status", "0200"),
		"§8.3.2 no digits":                    fields(":status", "2OO"),
		"§8.3.2 a sign":                       fields(":status", "+20"),
		"RFC 9110 §15 below 100":              fields(":status", "099"),
		"RFC 9110 §15 above 599":              fields(":status", "600"),
		"§8.6 a change of protocol":           fields(":status", "101"),
		"§8.3 status after a field":           fields("a", "b", ":status", "200"),
		"§8.3 two":                            fields(":status", "200", ":status", "200"),
		"§8.3 one of a request":               fields(":status", "200", ":path", "/"),
		"§8.3 one of a request, first":        fields(":path", "/", ":status", "200"),
		"§8.3 one nobody knows":               fields(":status", "200", ":x", ""),
		"§8.2.1 upper case":                   fields(":status", "200", "Server", "a"),
		"§8.2.1 an empty name":                fields(":status", "200", "", "a"),
		"§8.2.1 a space in a name":            fields(":status", "200", "a b", "a"),
		"§8.2.1 a colon in a name":            fields(":status", "200", "a:", "a"),
		"§8.2.1 a byte above 127 in a name":   fields(":status", "200", "a\xe4", "a"),
		"§8.2.1 CR in a name":                 fields(":status", "200", "a\r", "a"),
		"§8.2.1 LF in a value":                fields(":status", "200", "a", "b\nc: d"),
		"§8.2.1 CR in a value":                fields(":status", "200", "a", "b\rc"),
		"§8.2.1 NUL in a value":               fields(":status", "200", "a", "b\x00"),
		"RFC 9110 §5.5 DEL in a value":        fields(":status", "200", "a", "0123456\x7f"),
		"§8.2.1 a space in front":             fields(":status", "200", "a", " b"),
		"§8.2.1 a tab at the end":             fields(":status", "200", "a", "b\t"),
		"§8.2.1 a space alone":                fields(":status", "200", "a", " "),
		"§8.2.2 connection":                   fields(":status", "200", "connection", "close"),
		"§8.2.2 keep-alive":                   fields(":status", "200", "keep-alive", "timeout=5"),
		"§8.2.2 proxy-connection":             fields(":status", "200", "proxy-connection", "close"),
		"§8.2.2 transfer-encoding":            fields(":status", "200", "transfer-encoding", "chunked"),
		"§8.2.2 upgrade":                      fields(":status", "200", "upgrade", "h2c"),
		"§8.1.1 two lengths":                  fields(":status", "200", "content-length", "5", "content-length", "6"),
		"§8.1.1 two lengths that are equal":   fields(":status", "200", "content-length", "5", "content-length", "5"),
		"§8.1.1 two lengths, to HEAD as well": fields(":status", "304", "content-length", "5", "content-length", "6"),
		"RFC 9110 §8.6 a list of lengths":     fields(":status", "200", "content-length", "5, 5"),
		"RFC 9110 §8.6 no number":             fields(":status", "200", "content-length", "-5"),
		"RFC 9110 §8.6 an empty length":       fields(":status", "200", "content-length", ""),
		"RFC 9110 §8.6 too large":             fields(":status", "200", "content-length", "9223372036854775807"),
		"more than 200":                       append(fields(":status", "200"), many(201)...),
	} {
		var h http1.ResponseHead
		err := ParseResponseHead(&h, list, false)
		assert.ErrorIs(t, err, http1.ErrBadResponse, name)
		if len(list) > 1 && string(list[0].Name) == ":status" && string(list[1].Name) != "content-length" && strings.HasPrefix(name, "§8.2") {
			assert.ErrorIs(t, ParseTrailers(list[1:]), http1.ErrBadResponse, "%s, in trailers", name)
		}
	}
}

func TestTrailersHaveNoPseudoFields(t *testing.T) {
	assert.NoError(t, ParseTrailers(nil))
	assert.NoError(t, ParseTrailers(fields("grpc-status", "0")))
	assert.NoError(t, ParseTrailers(many(200)))
	assert.ErrorIs(t, ParseTrailers(fields(":status", "200")), http1.ErrBadResponse)
	assert.ErrorIs(t, ParseTrailers(many(201)), http1.ErrBadResponse)
}

func TestParsingAHeadDoesNotAllocate(t *testing.T) {
	list, refused := NewDecoder(0, 16<<10).Decode(heads()["nginx"], nil)
	require.Nil(t, refused)
	var h http1.ResponseHead
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = ParseResponseHead(&h, list, false) }))
	assert.EqualValues(t, 615, h.Length)
}
