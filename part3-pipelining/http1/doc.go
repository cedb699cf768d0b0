// Package http1 parses and writes the messages of HTTP/1.1: request heads, the
// framing of bodies, status lines and dates (RFC 9110 and RFC 9112). Bytes go in and
// values come out: no function here touches a socket, a goroutine, a lock or the
// clock, so a test of any rule is a table.
//
// This program parses a request with a chunked body:
//
//	b := []byte("POST /greet HTTP/1.1\r\nHost: socket.up\r\nTransfer-Encoding: chunked\r\n\r\n" +
//		"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n")
//
//	n := http1.HeadLength(b, 0) // 0 would mean: read more first
//	var head http1.RequestHead
//	if err := head.Parse(b[:n], 100); err != nil { // at most 100 fields
//		fmt.Println("respond with", err.Status, err.Detail)
//		return
//	}
//	fmt.Printf("%s %s\n", head.Method, head.Path)
//
//	body, err := http1.NewBodyDecoder(head.Length, 8<<20, 16<<10) // at most 8 MiB, and 16 KiB of trailers
//	for rest := b[n:]; err == nil && !body.AtEnd(); {
//		var piece []byte
//		var used int
//		piece, used, err = body.Decode(rest, len(rest)) // 0 used would mean: read more first
//		rest = rest[used:]
//		fmt.Printf("%q\n", piece)
//	}
//	fmt.Println(body.AtEnd())
//
// Two laws hold everywhere. Every byte sequence with more than one reading is
// refused: where one program reads a body, another may read the next request, and
// an attacker can hide a request in the difference (request smuggling). And the
// result never depends on where the network cut the bytes.
package http1
