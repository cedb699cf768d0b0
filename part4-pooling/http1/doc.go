// Package http1 reads and writes the messages of HTTP/1.1: request heads, the
// framing of bodies, status lines and dates (RFC 9110 and RFC 9112). Bytes go in
// and values come out. Nothing here knows a socket, a goroutine, a lock or the
// time, so every rule can be tested with a table.
//
//	head := http1.HeadLength(b, 0)          // where the head ends; 0: more must come
//	var r http1.RequestHead
//	if refused := r.Parse(b[:head], 100); refused != nil {
//		return refused.Status, refused.Reason
//	}
//	body, refused := http1.NewBodyDecoder(r.Length, 8<<20, 16<<10)
//	for rest := b[head:]; refused == nil && !body.Ended(); {
//		var piece []byte
//		var used int
//		piece, used, refused = body.Take(rest, len(rest)) // used == 0: more must come
//		rest = rest[used:]
//		use(piece)
//	}
//
// The parser is strict. What one program takes for a body another may take for
// the next request, and a request that nobody else saw is an attack (request
// smuggling). So whatever can be read in two ways is refused, and what is refused
// does not depend on where the network cut the bytes.
package http1
