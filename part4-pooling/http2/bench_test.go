package http2

import (
	"testing"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/http1"
)

// heads are blocks as three servers encode them for a client without a dynamic table:
// nginx asks to index every field all the same.
func heads() map[string][]byte {
	nginx := []byte{0x88}
	for _, f := range [][2]string{
		{"server", "nginx/1.26.2"}, {"date", "Sun, 29 Nov 2026 01:10:01 GMT"}, {"content-type", "text/html"}, {"content-length", "615"},
		{"last-modified", "Wed, 14 Aug 2026 14:21:05 GMT"}, {"etag", `"66bcbcf1-267"`}, {"accept-ranges", "bytes"},
	} {
		nginx = appendCoded(nginx, literalIndexed, 6, f[0], f[1])
	}
	golang := []byte{0x88}
	for _, f := range [][2]string{{"content-type", "text/plain; charset=utf-8"}, {"content-length", "13"}, {"date", "Sun, 29 Nov 2026 01:10:01 GMT"}} {
		golang = appendCoded(golang, literal, 4, f[0], f[1])
	}
	node := []byte{0x88}
	for _, f := range [][2]string{{"content-type", "application/json; charset=utf-8"}, {"x-powered-by", "Express"}, {"etag", `W/"d-6FXBHBeJ1nSPZQlkCGSDPTxh1Vg"`}, {"content-length", "13"}, {"date", "Sun, 29 Nov 2026 01:10:01 GMT"}} {
		node = appendCoded(node, literal, 4, f[0], f[1])
	}
	return map[string][]byte{"nginx": nginx, "Go": golang, "Node": node}
}

func BenchmarkDecode(b *testing.B) {
	for name, block := range heads() {
		b.Run(name, func(b *testing.B) {
			d := NewDecoder(0, 16<<10)
			fields := make([]http1.Field, 0, 20)
			b.SetBytes(int64(len(block)))
			b.ReportAllocs()
			for b.Loop() {
				fields, _ = d.Decode(block, fields[:0])
			}
			require.NotEmpty(b, fields)
		})
	}
}

func BenchmarkParseResponseHead(b *testing.B) {
	fields, refused := NewDecoder(0, 16<<10).Decode(heads()["nginx"], nil)
	require.Nil(b, refused)
	var head http1.ResponseHead
	b.ReportAllocs()
	for b.Loop() {
		if err := ParseResponseHead(&head, fields, false); err != nil {
			b.Fatal(err)
		}
	}
}

// browserLines are the fields that Chrome sends with a navigation.
const browserLines = "Host: socket.up\r\nConnection: keep-alive\r\nCache-Control: max-age=0\r\n" +
	"sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\n" +
	"Upgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
	"Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n"

func BenchmarkAppendRequest(b *testing.B) {
	out := make([]byte, 0, 4096)
	lines := []byte(browserLines)
	method, scheme, authority, path := []byte("GET"), []byte("http"), []byte("socket.up"), []byte("/greet")
	b.Run("head", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			out = AppendRequestHead(out[:0], method, scheme, authority, path)
		}
	})
	b.Run("fields of a browser", func(b *testing.B) {
		b.SetBytes(int64(len(lines)))
		b.ReportAllocs()
		for b.Loop() {
			out = AppendRequestFields(out[:0], lines)
		}
	})
}

func BenchmarkParseFrame(b *testing.B) {
	in := AppendHeaders(nil, 1, heads()["Go"], false, DefaultMaxFrame)
	in = append(AppendFrameHeader(in, 13, FrameData, FlagEndStream, 1), "hello, world\n"...)
	b.ReportAllocs()
	for b.Loop() {
		for rest := in; len(rest) > 0; {
			_, n, refused := ParseFrame(rest, DefaultMaxFrame)
			if refused != nil {
				b.Fatal(refused)
			}
			rest = rest[n:]
		}
	}
}

func BenchmarkStaticIndex(b *testing.B) {
	names := [][]byte{[]byte("content-type"), []byte("user-agent"), []byte("accept"), []byte("cookie"), []byte("sec-fetch-mode"), []byte("if-none-match"), []byte("x-request-id"), []byte(":path")}
	value := []byte("a")
	b.ReportAllocs()
	for b.Loop() {
		for _, name := range names {
			staticIndex(name, value)
		}
	}
}
