package http1

import "testing"

func BenchmarkParse(b *testing.B) {
	for name, head := range map[string]string{
		"40 bytes": "GET / HTTP/1.1\r\nHost: socket.up:8080\r\n\r\n",
		"400 bytes": get("/", "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n",
			"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n",
			"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef\r\n"),
	} {
		b.Run(name, func(b *testing.B) {
			var r RequestHead
			head := []byte(head)
			b.ReportAllocs()
			b.SetBytes(int64(len(head)))
			for b.Loop() {
				n := HeadLength(head, 0)
				if r.Parse(head[:n], 100) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}
