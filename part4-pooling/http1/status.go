package http1

import "strconv"

// A StatusError says why a message is refused, and with which status a server should
// respond.
type StatusError struct {
	Status int
	Detail string // one clause for the client
}

// Error returns the text of the response body, such as "400 Bad Request: …".
func (e *StatusError) Error() string { return StatusText(e.Status) + ": " + e.Detail }

// reasonPhrases are from RFC 9110 §15 and the IANA status code registry.
// Programs read the number; the phrase is for people (RFC 9112 §4).
var reasonPhrases = map[int]string{
	100: "Continue",
	101: "Switching Protocols",
	103: "Early Hints",
	200: "OK",
	201: "Created",
	202: "Accepted",
	203: "Non-Authoritative Information",
	204: "No Content",
	205: "Reset Content",
	206: "Partial Content",
	300: "Multiple Choices",
	301: "Moved Permanently",
	302: "Found",
	303: "See Other",
	304: "Not Modified",
	307: "Temporary Redirect",
	308: "Permanent Redirect",
	400: "Bad Request",
	401: "Unauthorized",
	402: "Payment Required",
	403: "Forbidden",
	404: "Not Found",
	405: "Method Not Allowed",
	406: "Not Acceptable",
	407: "Proxy Authentication Required",
	408: "Request Timeout",
	409: "Conflict",
	410: "Gone",
	411: "Length Required",
	412: "Precondition Failed",
	413: "Content Too Large",
	414: "URI Too Long",
	415: "Unsupported Media Type",
	416: "Range Not Satisfiable",
	417: "Expectation Failed",
	421: "Misdirected Request",
	422: "Unprocessable Content",
	426: "Upgrade Required",
	428: "Precondition Required",
	429: "Too Many Requests",
	431: "Request Header Fields Too Large",
	451: "Unavailable For Legal Reasons",
	500: "Internal Server Error",
	501: "Not Implemented",
	502: "Bad Gateway",
	503: "Service Unavailable",
	504: "Gateway Timeout",
	505: "HTTP Version Not Supported",
	511: "Network Authentication Required",
}

// StatusText returns a status code and its reason phrase, such as "404 Not Found".
// A code without a known phrase keeps its trailing space, which the grammar of a
// status line requires (RFC 9112 §4).
func StatusText(status int) string { return strconv.Itoa(status) + " " + reasonPhrases[status] }

// AppendStatusLine appends the status line for status, with its CRLF, and returns
// the extended slice. It allocates only if b lacks the capacity.
func AppendStatusLine(b []byte, status int) []byte {
	if status == 200 { // nearly always
		return append(b, "HTTP/1.1 200 OK\r\n"...)
	}
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, reasonPhrases[status]...)
	return append(b, "\r\n"...)
}
