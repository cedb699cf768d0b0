package http1

import (
	"strings"
)

// get renders a request for path; each of fields ends in CRLF.
func get(path string, fields ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: socket.up\r\n" + strings.Join(fields, "") + "\r\n"
}
