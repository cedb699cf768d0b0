package gateway

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// allReadings are the 32 readings of a path as one would write them down: each way alone and
// with each other, and a slice for each segment.
func allReadings(path []byte) (all [][]byte) {
	for ways := range 32 {
		decodesAll, decodesTwice, backslashes, cuts, merges := ways&1 != 0, ways&2 != 0, ways&4 != 0, ways&8 != 0, ways&16 != 0
		text := unescape(path, decodesAll)
		if decodesTwice {
			text = unescape(text, decodesAll)
		}
		if backslashes {
			text = bytes.ReplaceAll(text, []byte(`\`), []byte("/"))
		}
		var segments [][]byte
		for segment := range bytes.SplitSeq(text[1:], []byte("/")) {
			if end := bytes.IndexFunc(segment, func(c rune) bool { return c == ';' || c <= ' ' }); cuts && end >= 0 {
				segment = segment[:end]
			}
			switch {
			case string(segment) == "..":
				segments = segments[:max(0, len(segments)-1)]
			case string(segment) != "." && !(merges && len(segment) == 0):
				segments = append(segments, segment)
			}
		}
		all = append(all, append([]byte("/"), bytes.Join(segments, []byte("/"))...))
	}
	return all
}

// Readings that are left out because they would be like others make no difference.
func TestNoReadingIsLeftOut(t *testing.T) {
	t.Parallel()
	pieces := []string{"/", "/", ".", "..", "a", "b", "%2e", "%2E.", "%2f", "%5c", `\`, ";", ";x", "%3b", "%00", "%20", "%252e", "%2%35%65", "%25", "%", "%61", "%e4%bd", "//"}
	g := New(nil, []Backend{{Path: "/a"}, {Path: "/a/b"}, {Path: "/b"}})
	differ := 0
	for seed := range uint64(20_000) {
		r := rand.New(rand.NewPCG(seed, 7))
		path := "/"
		for range 1 + r.IntN(9) {
			path += pieces[r.IntN(len(pieces))]
		}
		p := g.backendFor([]byte(path))
		want := mayBeAmbiguous([]byte(path)) && slices.ContainsFunc(allReadings([]byte(path)), func(reading []byte) bool { return g.backendFor(reading) != p })

		if got := g.isPathConfusing([]byte(path), p); got != want {
			t.Fatalf("%q, seed %d: confusing %v; want %v (pathconfusion.go, anyReading)", path, seed, got, want)
		}
		if want {
			differ++
		}
	}
	t.Logf("%d paths are confusing", differ)
}

// The work for a path has a bound, however long it is.
func TestReadingsOfAPathAreBounded(t *testing.T) {
	t.Parallel()
	for piece, wantRefused := range map[string]bool{
		"/a%20b":         false, // blanks
		"/%e4%bd%a0":     false, // UTF-8
		"/a;b":           false, // parameters
		"/a;%2e":         false, // 4 readings, each shorter than the path
		`/%252e;%5c\%2f`: true,
	} {
		for _, n := range []int{1000, 4000, 8000} {
			path := "/x" + strings.Repeat(piece, n/len(piece))
			looked := 0
			refused := anyReading([]byte(path), func(reading []byte) bool {
				looked += len(reading)
				return false
			})

			assert.LessOrEqual(t, looked, maxReadings, "%d bytes of %s", n, piece)
			if n <= 1000 {
				assert.False(t, refused, "%d bytes of %s", n, piece)
			} else if n == 8000 {
				assert.Equal(t, wantRefused, refused, "%d bytes of %s", n, piece)
			}
		}
	}
}

// With one backend for all paths there is nothing to be confused.
func TestOneBackendReadsNoPath(t *testing.T) {
	g := New(nil, []Backend{{Path: "/", Addr: "a"}})
	path := []byte("/" + strings.Repeat("../%2e", 100))

	assert.False(t, g.isPathConfusing(path, &g.Backends[0]))
	assert.Zero(t, testing.AllocsPerRun(10, func() { g.isPathConfusing(path, &g.Backends[0]) }))
}
