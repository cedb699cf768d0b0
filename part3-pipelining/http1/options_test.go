package http1

import (
	"strings"
	"testing"
)

// The options of Connection are few, however they are spread over fields.
func TestTooManyConnectionOptionsGet431(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]*StatusError{
		"Connection: " + strings.Repeat("a,", maxOptions-1) + "a\r\n": nil,
		"Connection: " + strings.Repeat("a,", maxOptions) + "a\r\n":   errTooManyOptions,
		"Connection: " + strings.Repeat(",", maxOptions) + "\r\n":     errTooManyOptions,
		strings.Repeat("Connection: a\r\n", maxOptions+1):             errTooManyOptions,
	} {
		var r RequestHead
		if refused := r.Parse([]byte("GET / HTTP/1.1\r\nHost: a\r\n"+list+"\r\n"), 100); refused != want {
			t.Errorf("%.60q: %v; want %v (request.go, maxOptions)", list, refused, want)
		}
	}
}
