package server

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"socketup/part3-pipelining/http1"
)

// What a read costs its caller must not be the client's choice: body.go, gather.

// bodyInHand is a chunked body all of whose bytes have arrived: no read of it waits.
func bodyInHand(t *testing.T, wire string) *Body {
	t.Helper()
	require.LessOrEqual(t, len(wire), readBufferSize)
	c := &conn{srv: &Server{clock: newClock()}}
	c.input.acquire()
	c.input.w = copy(c.input.buf[:], wire)
	d, refused := http1.NewBodyDecoder(http1.Chunked, 1<<20, 1<<10)
	require.Nil(t, refused)
	return &Body{Decoder: d, x: &exchange{conn: c}}
}

func TestManyChunksAreOneRead(t *testing.T) {
	t.Parallel()
	const chunks = 5000
	b := bodyInHand(t, strings.Repeat("1\r\nx\r\n", chunks)+"0\r\n\r\n")
	p := make([]byte, 16<<10)

	n, err := b.Read(p)

	require.NoError(t, err)
	require.Equal(t, chunks, n, "content that had arrived was left behind: each of these chunks becomes a read of its own (body.go, gather)")
	_, err = b.Read(p)
	require.Equal(t, io.EOF, err)
}

// However the content is cut into chunks, and the reads into pieces, the reader gets the
// same bytes, and an error behind all of those before it.
func TestGatheredReadsGiveTheSameContent(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 5))
		var wire, want strings.Builder
		for range r.IntN(200) {
			piece := strings.Repeat(string(rune('a'+r.IntN(26))), 1+r.IntN(1<<r.IntN(7)))
			fmt.Fprintf(&wire, "%x\r\n%s\r\n", len(piece), piece)
			want.WriteString(piece)
		}
		bad := r.IntN(2) == 0
		if bad {
			wire.WriteString("no chunk\r\n")
		} else {
			wire.WriteString("0\r\n\r\n")
		}
		b := bodyInHand(t, wire.String())

		var got strings.Builder
		var err error
		for err == nil {
			var n int
			p := make([]byte, r.IntN(1<<r.IntN(10)))
			n, err = b.Read(p)
			got.Write(p[:n])
		}

		require.Equal(t, want.String(), got.String(), "seed %d", seed)
		require.Equal(t, bad, err != io.EOF, "seed %d: %v", seed, err)
	}
}
