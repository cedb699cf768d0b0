package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/pool"
)

// A response with more Connection options than a gateway compares with its fields is
// not forwarded. It is whole nevertheless, and so is its connection: a dial for each such
// response cost twice as much as nginx spends on it, and in an engine four times.
func TestResponseWithTooManyOptionsIs502AndItsConnectionIsKept(t *testing.T) {
	t.Parallel()
	for _, engine := range []bool{false, true} {
		for name, size := range map[string]int{"a short body": 100, "a body that is too long to discard": 200 << 10} {
			t.Run(fmt.Sprintf("%s, engine %v", name, engine), func(t *testing.T) {
				t.Parallel()
				var asked atomic.Int64 // for a response with too many options
				s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
					if r.URL.Path != "/many" {
						return testutil.Response200("ok")
					}
					asked.Add(1)
					return "HTTP/1.1 200 OK\r\nConnection: " + strings.Repeat("a,", 32) + "a\r\n" + strings.TrimPrefix(testutil.Response200(strings.Repeat("x", size)), "HTTP/1.1 200 OK\r\n")
				})
				p := pool.New(pool.DefaultLimits)
				t.Cleanup(p.Close)
				r := startServer(t, withOffload(gateway.New(p, []gateway.Backend{{Path: "/", Addr: s.Addr, Engine: engine}})))
				sent := get("/1") + get("/many") + get("/2", closeField)

				got := sendAndRead(t, r.addr, "house rule: Connection has at most 32 options, both ways", "response.go, CheckOptions", sent)

				all := got.parseAll(t, getMethods(3)...)
				for i, want := range []string{"200 OK", "502 Bad Gateway", "200 OK"} {
					got.wantSame(t, "the status of a response", want, all[i].status)
				}
				assert.NotContains(t, all[1].body, "xxx", "the body of a response that is not forwarded")
				assert.EqualValues(t, 1, asked.Load(), "a response that is not forwarded is not asked for again")
				if size == 100 && engine {
					assert.Equal(t, 1, s.Accepted(), "connections to the backend")
				}
				assert.Equal(t, size > 100, p.Stats().Backend(s.Addr).Broken > 0, "connections that were not kept")
			})
		}
	}
}
