package gateway

import (
	"bytes"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/server"
)

// What passes through a gateway beside heads and bodies: answers before the
// answer, the end of a body that nobody wants, and the fields behind a body.

// passInterim passes on an answer that is not the last, such as 103 Early
// Hints. A gateway must, if its client knows HTTP/1.1 (RFC 9110 §15.2). The 100
// Continue that lets the body go is not among them: the server sends its own
// when the body is read.
func (f *forward) passInterim(h *http1.Heading) error {
	if f.minor == 0 {
		return nil
	}
	b := appendPassed(http1.AppendStatus(nil, h.Status), h)
	return f.w.Interim(append(b, "\r\n"...))
}

// A passingBody is the body of a request on its way to a backend. The backend
// may answer before it has come, for it is too long, or not allowed. Then the
// client must hear of it at once, and not when it has sent, or stalled, to the
// end.
type passingBody struct {
	*server.Body
	named nominees // of the request's Connection: not among its trailers either
}

// Trailing are the fields behind the body, those that may pass.
func (b *passingBody) Trailing() []http1.Field { return passable(b.Framing.Trailers, b.named) }

// passTrailer passes on which trailers the backend has announced, and returns
// the fields that may not be among them: what Connection names ends here,
// wherever it stands (RFC 9110 §7.6.1).
func passTrailer(w *server.Response, a *client.Answer) (named nominees) {
	if a.Length != http1.Chunked {
		return nil
	}
	named = named.nominate(a.Fields)
	for _, f := range a.Fields {
		if !http1.EqualFold(f.Name, "trailer") {
			continue
		}
		if f.Value = announced(f.Value, named); len(f.Value) > 0 {
			w.Fields = client.AppendFields(w.Fields, []http1.Field{f})
		}
	}
	return named
}

// announced are those in a list of trailers that may pass. The list may be ours
// to keep: it is made anew.
func announced(list []byte, named nominees) (may []byte) {
	for name := range bytes.SplitSeq(list, []byte(",")) {
		if name = http1.TrimSpace(name); !mayTrail(name, named) {
			continue
		}
		if len(may) > 0 {
			may = append(may, ", "...)
		}
		may = append(may, name...)
	}
	return may
}

// passable are those trailers that may pass.
func passable(trailers []http1.Field, named nominees) (may []http1.Field) {
	for _, f := range trailers {
		if mayTrail(f.Name, named) {
			may = append(may, f)
		}
	}
	return may
}

// mayTrail says whether a field may pass behind a body. Programs take trailers for
// fields of the head, which RFC 9110 §6.5.1 forbids and a gateway cannot prevent.
// A list of what does harm there is never complete; so this is a list of what may
// stand there by its own definition, and does none.
func mayTrail(name []byte, named nominees) bool {
	for _, n := range trailerNames[len(name)%len(trailerNames)] {
		if http1.EqualFold(name, n) {
			return !named.has(name)
		}
	}
	return false
}

var trailerNames = byLength(
	"etag", "accept-ranges", // RFC 9110 §8.8.3, §14.3
	"digest", "content-digest", "repr-digest", // RFC 3230, RFC 9530 §2, §3
	"server-timing", // W3C Server Timing §2
)
