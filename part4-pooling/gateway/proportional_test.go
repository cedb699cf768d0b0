package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/server"
)

// What a request costs is in proportion to its bytes: no list in it is walked, or copied, for
// each of its fields.

// parsed is a request with these fields.
func parsed(t *testing.T, target string, fields ...string) *server.Request {
	t.Helper()
	head := "GET " + target + " HTTP/1.1\r\nHost: a\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
	r := new(server.Request)
	if refused := r.Parse([]byte(head), 100); refused != nil {
		require.NoError(t, refused)
	}
	return r
}

func TestForwardedListsAreCopiedOnce(t *testing.T) {
	t.Parallel()
	const fields, length = 90, 140
	field := func(i int) string { return strings.Repeat(string(rune('a'+i%26)), length) }
	var head, want []string
	for i := range fields {
		head = append(head, "X-Forwarded-For: "+field(i))
		want = append(want, field(i))
	}
	r := parsed(t, "/", head...)
	f := new(forwardedRequest).init()

	for i := range r.Fields {
		f.keepField(r, &r.Fields[i])
	}
	b := f.appendGatewayFields(nil, r, []byte("192.0.2.1"))

	line, _, _ := strings.Cut(string(b), "\r\n")
	assert.Equal(t, "X-Forwarded-For: "+strings.Join(want, ", ")+", 192.0.2.1", line)
	came := fields * (len("X-Forwarded-For: \r\n") + length)
	assert.LessOrEqual(t, cap(b)+cap(f.buf), 2*came+1<<10, "the lists of %d bytes are copied again and again (forwarding.go, appendList)", came)
}

// An invalid list is left out, an empty one too.
func TestForwardedListsThatCannotBeBelievedAreLeftOut(t *testing.T) {
	t.Parallel()
	r := parsed(t, "/", "X-Forwarded-For: 1", "X-Forwarded-For:", `X-Forwarded-For: "2`, "Forwarded: for=1", `Forwarded: for="2`, "X-Forwarded-For: 3")
	f := new(forwardedRequest).init()
	for i := range r.Fields {
		f.keepField(r, &r.Fields[i])
	}

	b := f.appendGatewayFields(nil, r, []byte("192.0.2.1"))

	assert.Equal(t, []string{"X-Forwarded-For: 1, 3, 192.0.2.1", `Forwarded: for=1, for=192.0.2.1;host="a";proto=http`}, strings.Split(string(b), "\r\n")[:2])
}

// With the options of Connection bounded, a field is compared with a few names: their
// number does not grow with the head.
func TestConnectionOptionsAreBounded(t *testing.T) {
	t.Parallel()
	for members, want := range map[int]int{32: 0, 33: http.StatusRequestHeaderFieldsTooLarge} {
		for name, lists := range map[string][]string{
			"one field":    {"Connection: " + strings.Repeat("a,", members-1) + "a"},
			"no names":     {"Connection: " + strings.Repeat(",", members-1)},
			"two fields":   {"Connection: " + strings.Repeat("a,", members-2) + "a", "connection: b"},
			"a field each": strings.Split(strings.Repeat("Connection: a;", members-1)+"Connection: a", ";"),
		} {
			head := strings.Join(lists, "\r\n") + "\r\n\r\n"
			var r http1.RequestHead
			refused := r.Parse([]byte("GET / HTTP/1.1\r\nHost: a\r\n"+head), 100)
			var h http1.ResponseHead
			err := h.Parse([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"+head), []byte("GET"))

			if want == 0 {
				assert.Nil(t, refused, "%s with %d members", name, members)
				assert.NoError(t, err, "%s with %d members", name, members)
				assert.NoError(t, h.CheckOptions(), "%s with %d members", name, members)
				continue
			}
			if assert.NotNil(t, refused, "%s with %d members. http1/request.go, maxOptions", name, members) {
				assert.Equal(t, want, refused.Status, name)
			}
			assert.NoError(t, err, "%s with %d members: its end is not ambiguous. http1/response.go", name, members)
			assert.ErrorIs(t, h.CheckOptions(), http1.ErrBadResponse, "%s with %d members. http1/response.go", name, members)
		}
	}
}
