package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
)

// What Connection names ends here, also behind a body that is longer than the memory that the
// head was in.
func TestTrailerNamedByConnectionEndsHereBehindALongBody(t *testing.T) {
	t.Parallel()
	chunk := "8000\r\n" + strings.Repeat("x", 32<<10) + "\r\n"
	back := testutil.ServeResponses(t, func(int, *http.Request) string {
		return "HTTP/1.1 200 OK\r\nConnection: Digest\r\nTrailer: Digest, ETag\r\nTransfer-Encoding: chunked\r\n\r\n" +
			strings.Repeat(chunk, 8) + "0\r\nDigest: 1\r\nETag: 2\r\n\r\n"
	})
	for _, engine := range []bool{false, true} {
		g := gateway.New(newSmallPool(t, 4), []gateway.Backend{{Path: "/", Addr: back.Addr, Engine: engine}})
		r := startServer(t, withOffload(g))

		s := sendAndRead(t, r.addr, ruleTrailers, "trailers.go, copyTrailerField", get("/", "TE: trailers\r\nConnection: close, TE\r\n"))

		s.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
		assert.Truef(t, strings.HasSuffix(s.got, "\r\n0\r\nETag: 2\r\n\r\n"), "engine %v: %s; it ends in %q", engine, ruleTrailers, s.got[max(0, len(s.got)-60):])
	}
}
