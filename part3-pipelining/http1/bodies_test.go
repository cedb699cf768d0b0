package http1

import "fmt"

// post renders a request with body.
func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: socket.up\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

// chunkedPost renders a request with body, which is already in chunks.
func chunkedPost(body string) string {
	return "POST /echo HTTP/1.1\r\nHost: socket.up\r\nTransfer-Encoding: chunked\r\n\r\n" + body
}
