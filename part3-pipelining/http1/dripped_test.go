package http1

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A head that comes byte by byte is checked once, each byte when it comes; what is wrong is found
// as if it was checked from its beginning each time.
func TestDrippedHeadIsCheckedOnce(t *testing.T) {
	t.Parallel()
	for _, head := range []string{"GET / HTTP/1.1\r\nA: b\r\nC: d", "GET / HTTP/1.1\nA: b", "\nGET /", "\r\rA\n", "GET / HTTP/1.1\r\nA: b\r\r\n\nC", "\x16\x03"} {
		for n := 1; n <= len(head); n++ {
			b := []byte(head[:n])

			require.Equal(t, CheckPartialHead(b, 0, 1000), CheckPartialHead(b, n-1, 1000), "%q", b)
			if CheckPartialHead(b, 0, 1000) != nil {
				break // nobody reads on
			}
		}
	}
	assert.False(t, hasBareLF([]byte("a\nb"), 2), "bytes are checked again that were checked before (request.go)")
}

func TestDrippedTrailersAreCheckedOnce(t *testing.T) {
	t.Parallel()
	for trailers, want := range map[string]*StatusError{
		"a: b\r\nc: d\r\n\r\n":         nil,
		"\r\n":                         nil,
		"a: b\nc: d":                   errLineEnding,
		"a: b\r\nc: d\r\n\n":           errLineEnding,
		strings.Repeat("a: b\r\n", 50): errHeadTooLong,
	} {
		d, _ := NewBodyDecoder(Chunked, 1, 100)
		_, used, _ := d.Decode([]byte("0\r\n"), 1)
		require.Equal(t, 3, used)

		var refused *StatusError
		for n := 1; n <= len(trailers) && refused == nil && !d.AtEnd(); n++ {
			if _, used, refused = d.Decode([]byte(trailers[:n]), 1); used == 0 && refused == nil {
				require.Equal(t, n, d.scanned, "bytes are checked again that were checked before (framing.go, nextTrailers)")
			}
		}

		assert.Equal(t, want, refused, "%q", trailers)
		assert.Equal(t, want == nil, d.AtEnd(), "%q", trailers)
	}
}
