package gateway

import (
	"bytes"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/server"
)

// What a gateway forwards in addition to heads and bodies: interim responses and
// trailers.

// forwardInterim forwards a 1xx response such as 103 Early Hints. A gateway must, if the
// client speaks HTTP/1.1 (RFC 9110 §15.2). A 100 Continue in reply to Expect does not get
// here: the server sends its own when the body is read.
func (f *forwardedRequest) forwardInterim(a *client.Response) error {
	if f.minor == 0 {
		return nil
	}
	if err := a.CheckOptions(); err != nil {
		return err
	}
	f.holds(a)
	b := appendForwardedFields(http1.AppendStatusLine(nil, a.Status), &a.ResponseHead, f.via(a.Minor))
	return f.w.WriteInterim(append(b, "\r\n"...))
}

// A forwardedBody is a request body that is read while it is sent to a backend. The
// backend may respond before the body is complete, because it is too long or not
// allowed. The upload then stops with Body.CancelRead, so the client gets that response
// immediately, and not only when it has sent everything.
type forwardedBody struct {
	*server.Body
	connectionOptions connectionOptions // of the request's Connection field: removed from the trailers too
}

// TrailerFields returns the trailers that may be forwarded. It is called after the end
// of the body.
func (b *forwardedBody) TrailerFields() []http1.Field {
	return allowedTrailers(b.Decoder.Trailers, b.connectionOptions)
}

// copyTrailerField forwards the backend's Trailer field, and returns the fields that its
// Connection field names. Those are not forwarded in the trailers either (RFC 9110
// §7.6.1).
func copyTrailerField(w *server.Response, a *client.Response) (named connectionOptions) {
	if a.Length != http1.Chunked {
		return nil
	}
	named = named.collect(a.Fields)
	for i, option := range named {
		named[i] = bytes.Clone(option) // it is asked for behind the body, whose bytes may lie where the head was
	}
	for _, f := range a.Fields {
		if !isTrailerField(f) {
			continue
		}
		if f.Value = allowedTrailerNames(f.Value, named); len(f.Value) > 0 {
			w.FieldLines = client.AppendFields(w.FieldLines, []http1.Field{f})
		}
	}
	return named
}

// isTrailerField reports whether f announces trailers.
func isTrailerField(f http1.Field) bool { return http1.EqualFold(f.Name, "trailer") }

// allowedTrailerNames returns the names in list that may be forwarded, as a new list.
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

// allowedTrailers returns the trailers that may be forwarded.
func allowedTrailers(trailers []http1.Field, named connectionOptions) (may []http1.Field) {
	for _, f := range trailers {
		if isAllowedTrailer(f.Name, named) {
			may = append(may, f)
		}
	}
	return may
}

// isAllowedTrailer reports whether a field may be forwarded as a trailer. Some programs
// merge trailers into the head, which RFC 9110 §6.5.1 forbids and a gateway cannot
// prevent. A list of harmful trailers is never complete, so this is a list of harmless
// ones, whose own specifications allow them there.
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
