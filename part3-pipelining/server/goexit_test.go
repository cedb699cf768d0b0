package server

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// runtime.Goexit runs the deferred calls of the goroutine that it ends, and those need the
// connection's lock as they left it.
func TestHandlerThatEndsItsGoroutineLeavesTheLock(t *testing.T) {
	for _, driver := range []string{"serial", "goroutines", "loop"} {
		t.Run(driver, func(t *testing.T) {
			r := startDriver(t, driver, withHandler(func(w *Response, r *Request) {
				if string(r.Path) == "/exit" {
					runtime.Goexit()
				}
				w.Status = 204
			}))

			s := sendAndRead(t, r.addr, "house rule: a handler that ends its goroutine costs only its own response", "transport.go, goexit; goroutines.go, handle", strings.Repeat(get("/exit"), 3)+get("/", closeField))

			var got []string
			for _, one := range s.parseAll(t, getMethods(4)...) {
				got = append(got, one.status)
			}
			assert.Equal(t, []string{"500 Internal Server Error", "500 Internal Server Error", "500 Internal Server Error", "204 No Content"}, got)
		})
	}
}
