// Package http2 parses and writes the bytes of HTTP/2 as a client needs them: frames
// (RFC 9113 §4, §6), the compressed fields in them (HPACK, RFC 7541), and what makes a
// head of those fields valid (RFC 9113 §8). Like http1 it touches no socket, no
// goroutine, no lock and no clock: bytes go in and values come out. Which frame may
// follow which, and how much may be sent, depends on the state of streams and is for
// the caller.
//
// This program writes a request, and reads what a server sent back:
//
//	block := http2.AppendRequestHead(nil, []byte("GET"), []byte("http"), []byte("socket.up"), []byte("/greet"))
//	block = http2.AppendRequestFields(block, []byte("Accept: text/plain\r\n"))
//
//	out := append([]byte(nil), http2.Preface...)
//	out = http2.AppendSettings(out, http2.Setting{ID: http2.SettingHeaderTableSize, Value: 0})
//	out = http2.AppendHeaders(out, 1, block, true, http2.DefaultMaxFrame) // true: no body
//	fmt.Println(len(out), "bytes to send")
//
//	in := []byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00" + // SETTINGS, none
//		"\x00\x00\x05\x01\x04\x00\x00\x00\x01\x88\x0f\x0d\x015" + // HEADERS: 200, Content-Length: 5
//		"\x00\x00\x05\x00\x01\x00\x00\x00\x01hello") // DATA, END_STREAM
//	decoder := http2.NewDecoder(0, 16<<10) // the table that SETTINGS said; 16 KiB of fields
//	for len(in) > 0 {
//		f, n, err := http2.ParseFrame(in, http2.DefaultMaxFrame)
//		if n == 0 || err != nil { // n == 0 alone would mean: read more first
//			fmt.Println("send GOAWAY, because", err)
//			return
//		}
//		in = in[n:]
//		switch f.Type {
//		case http2.FrameHeaders:
//			fields, _ := decoder.Decode(f.Payload, nil) // an error ends the connection
//			var head http1.ResponseHead
//			err := http2.ParseResponseHead(&head, fields, false) // an error ends the stream
//			fmt.Println(f.StreamID, head.Status, head.Length, err)
//		case http2.FrameData:
//			fmt.Printf("%d %s %v\n", f.StreamID, f.Payload, f.Flags&http2.FlagEndStream != 0)
//		default:
//			fmt.Println(f.StreamID, f.Type)
//		}
//	}
//
// Faults are of two kinds. A *ConnError ends the connection, because frames or tables
// can no longer be trusted. An error that wraps http1.ErrBadResponse ends one stream,
// and its neighbours live on.
package http2
