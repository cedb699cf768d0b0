package gateway

import (
	"bytes"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/server"
)

// What passes through a gateway beside heads and bodies: answers before the
// response, the end of a body that nobody wants, and the fields behind a body.

// forwardInterim passes on a response that is not the last, such as 103 Early
// Hints. A gateway must, if its client knows HTTP/1.1 (RFC 9110 §15.2). The 100
// Continue that lets the body go is not among them: the server sends its own
// when the body is read.
func (f *forwardedRequest) forwardInterim(h *http1.ResponseHead) error {
	if f.minor == 0 {
		return nil
	}
	b := appendForwardedFields(http1.AppendStatusLine(nil, h.Status), h)
	return f.w.WriteInterim(append(b, "\r\n"...))
}

// A forwardedBody is the body of a request on its way to a backend. The backend
// may answer before it has come, for it is too long, or not allowed. Then the
// client must hear of it at once, and not when it has sent, or stalled, to the
// end.
type forwardedBody struct {
	*server.Body
	connectionOptions connectionOptions // of the request's Connection: not among its trailers either
}

// TrailerFields are the fields behind the body, those that may pass.
func (b *forwardedBody) TrailerFields() []http1.Field {
	return allowedTrailers(b.Decoder.Trailers, b.connectionOptions)
}

// copyTrailerField passes on which trailers the backend has announced, and returns
// the fields that may not be among them: what Connection names ends here,
// wherever it stands (RFC 9110 §7.6.1).
func copyTrailerField(w *server.Response, a *client.Response) (named connectionOptions) {
	if a.Length != http1.Chunked {
		return nil
	}
	named = named.collect(a.Fields)
	for i, option := range named {
		named[i] = bytes.Clone(option) // it is asked for behind the body, whose bytes may lie where the head was
	}
	for _, f := range a.Fields {
		if !http1.EqualFold(f.Name, "trailer") {
			continue
		}
		if f.Value = allowedTrailerNames(f.Value, named); len(f.Value) > 0 {
			w.FieldLines = client.AppendFields(w.FieldLines, []http1.Field{f})
		}
	}
	return named
}

// allowedTrailerNames are those in a list of trailers that may pass. The list may be ours
// to keep: it is made anew.
func allowedTrailerNames(list []byte, named connectionOptions) (may []byte) {
	for name := range bytes.SplitSeq(list, []byte(",")) {
		if name = http1.TrimSpace(name); !isAllowedTrailer(name, named) {
			continue
		}
		if len(may) > 0 {
			may = append(may, ", "...)
		}
		may = append(may, name...)
	}
	return may
}

// allowedTrailers are those trailers that may pass.
func allowedTrailers(trailers []http1.Field, named connectionOptions) (may []http1.Field) {
	for _, f := range trailers {
		if isAllowedTrailer(f.Name, named) {
			may = append(may, f)
		}
	}
	return may
}

// isAllowedTrailer says whether a field may pass behind a body. Programs take trailers for
// fields of the head, which RFC 9110 §6.5.1 forbids and a gateway cannot prevent.
// A list of what does harm there is never complete; so this is a list of what may
// stand there by its own definition, and does none.
func isAllowedTrailer(name []byte, named connectionOptions) bool {
	for _, n := range allowedTrailerList[len(name)%len(allowedTrailerList)] {
		if http1.EqualFold(name, n) {
			return !named.contains(name)
		}
	}
	return false
}

var allowedTrailerList = indexByLength(
	"etag", "accept-ranges", // RFC 9110 §8.8.3, §14.3
	"digest", "content-digest", "repr-digest", // RFC 3230, RFC 9530 §2, §3
	"server-timing", // W3C Server Timing §2
)
