package main

import (
	"strings"
	"testing"
)

// Which resource a request is for, and which methods it allows.

func TestTargetDeterminesTheHost(t *testing.T) {
	addr := contract(t)
	const look = "request.go, parseTarget, validate and ValidHost"
	for name, c := range map[string]struct{ sent, status, rule string }{
		"absolute in HTTP/1.0, no Host": {"GET http://socket.up/ HTTP/1.0\r\n\r\n", "200", "MUST, RFC 9112 §3.2.2: a server accepts the absolute form"},
		"absolute in HTTP/1.1, no Host": {"GET http://socket.up/ HTTP/1.1\r\n" + closeField + "\r\n", "400", "MUST, RFC 9112 §3.2: no Host in HTTP/1.1 is 400, whatever the target says"},
		"absolute, and another Host":    {"GET http://socket.up/ HTTP/1.1\r\nHost: other\r\n" + closeField + "\r\n", "200", "MUST, RFC 9112 §3.2.2: the absolute target overrides Host"},
		"absolute, and a bad Host":      {"GET http://socket.up/ HTTP/1.1\r\nHost: a/b\r\n" + closeField + "\r\n", "400", "house rule, RFC 9112 §3.2: an invalid Host is 400, also where §3.2.2 has the server ignore what it says"},
		"absolute, and two Hosts":       {"GET http://socket.up/ HTTP/1.1\r\nHost: socket.up\r\nHost: other\r\n" + closeField + "\r\n", "400", "house rule, RFC 9112 §3.2: two Hosts are 400, also where §3.2.2 has the server ignore what they say"},
		"absolute without a host":       {"GET http:/// HTTP/1.1\r\nHost: x\r\n" + closeField + "\r\n", "400", "MUST, RFC 9110 §4.2.1: http with an empty host is rejected"},
		"a user in the target":          {"GET http://me@socket.up/ HTTP/1.1\r\nHost: socket.up\r\n" + closeField + "\r\n", "400", "SHOULD, RFC 9110 §4.2.4: userinfo is an error"},
		"a user in Host":                {"GET / HTTP/1.1\r\nHost: me@socket.up\r\n" + closeField + "\r\n", "400", "MUST, RFC 9112 §3.2: an invalid Host is 400"},
		"a secret in Host":              {"GET / HTTP/1.1\r\nHost: me:secret@socket.up\r\n" + closeField + "\r\n", "400", "MUST, RFC 9112 §3.2: an invalid Host is 400"},
		"a list in Host":                {"GET / HTTP/1.1\r\nHost: a, b\r\n" + closeField + "\r\n", "400", "MUST, RFC 9112 §3.2: an invalid Host is 400"},
		"half an escape in Host":        {"GET / HTTP/1.1\r\nHost: a%4\r\n" + closeField + "\r\n", "400", "MUST, RFC 9112 §3.2: an invalid Host is 400"},
		"an empty Host":                 {"GET / HTTP/1.1\r\nHost:\r\n" + closeField + "\r\n", "200", "MUST, RFC 9112 §3.2: Host may be empty when the target has no authority"},
		"two Hosts in HTTP/1.0":         {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400", "house rule, RFC 9112 §3.2 covers only HTTP/1.1: two Hosts are 400"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sendAndRead(t, addr, c.rule, look, c.sent).allowAnyVersion()

			s.wantPrefix(t, "HTTP/1.1 "+c.status+" ")
			s.parseAll(t, "GET")
			s.wantCleanEnd(t)
		})
	}
}

func TestOptionsAndUnknownMethods(t *testing.T) {
	addr := contract(t)
	for name, c := range map[string]struct{ line, status, allow, rule string }{
		"of the server":      {"OPTIONS *", "204", "GET, HEAD, POST, PUT, OPTIONS", "house rule, RFC 9110 §9.3.7: OPTIONS * lists the methods that any route has"},
		"of http://host":     {"OPTIONS http://socket.up", "204", "GET, HEAD, POST, PUT, OPTIONS", "house rule, RFC 9112 §3.2.4: without a path it is OPTIONS *"},
		"of a path":          {"OPTIONS /echo", "204", "POST, PUT, OPTIONS", "house rule, RFC 9110 §9.3.7: OPTIONS lists the methods of this resource"},
		"of a query":         {"OPTIONS /?a=b", "204", "GET, HEAD, OPTIONS", "house rule, RFC 9110 §9.3.7: OPTIONS lists the methods of this resource"},
		"of an unknown path": {"OPTIONS /none", "404", "", "house rule: OPTIONS of an unknown path is 404"},
		"PATCH":              {"PATCH /echo", "405", "POST, PUT, OPTIONS", "house rule: a 405 lists the same methods"},
		"unknown":            {"BREW /echo", "501", "", "SHOULD, RFC 9110 §9.1: a method that the server does not know is 501, not 405"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sendAndRead(t, addr, c.rule, "routes.go, dispatch, serve and respondAllow", c.line+" HTTP/1.1\r\nHost: x\r\n"+closeField+"\r\n")

			s.wantPrefix(t, "HTTP/1.1 "+c.status+" ")
			method, _, _ := strings.Cut(c.line, " ")
			r := s.parseAll(t, method)[0]
			s.wantSameMethods(t, c.allow, r.fields["allow"])
			if framing := r.fields["content-length"] + r.fields["transfer-encoding"]; c.status == "204" && framing != "" {
				s.withRule("MUST NOT, RFC 9110 §8.6 and RFC 9112 §6.1: 204 has neither Content-Length nor Transfer-Encoding").fail(t, strings.Index(s.got, framing), "204 has no content, and so no framing")
			}
			s.wantCleanEnd(t)
		})
	}
}
