package main

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
)

const ruleForwardingFields = "house rule: fields that describe a request's path to the backend are the gateway's own"

// forwardedFields sends a request with fields through a gateway and returns the
// fields that its backend received: the values of all lines by lower-case name.
func forwardedFields(t testing.TB, fields string, change ...func(*gateway.Gateway)) (got map[string][]string, peer string) {
	t.Helper()
	heads := make(chan string, 1)
	back := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		b := make([]byte, 64<<10)
		n, _ := c.Read(b)
		heads <- string(b[:n])
		c.Write([]byte(testutil.Response200("ok")))
	})
	r, _ := startGateway(t, back.Addr, change...)
	peer, _, _ = net.SplitHostPort(r.addr)

	sendAndRead(t, r.addr, "", "", get("/", closeField, fields)).wantPrefix(t, "HTTP/1.1 200 ")

	got = map[string][]string{}
	for _, line := range strings.Split(receive(t, heads, "the request"), "\r\n")[1:] {
		name, value, _ := strings.Cut(line, ": ")
		got[strings.ToLower(name)] = append(got[strings.ToLower(name)], value)
	}
	return got, peer
}

func TestClientsCannotSpoofForwardingFields(t *testing.T) {
	t.Parallel()
	got, peer := forwardedFields(t, "X-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 192.0.2.1\r\nx-forwarded-proto: wss\r\n"+
		"X-Forwarded-Port: 1\r\nX-Forwarded: for=1\r\nX-Forwarded-Ssl: on\r\nTrue-Client-IP: 192.0.2.1\r\nX-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nFront-End-Https: on\r\nX-Forge: 1\r\n"+
		"X-Forwarded-Client-Cert: a\r\nX-Forwarded-Tls-Client-Cert: a\r\nX-Forwarded-Preferred-Username: a\r\nCF-Connecting-IP: a\r\nX-Envoy-External-Address: a\r\nX-SSL-Client-Verify: a\r\n")

	for name, want := range map[string]string{
		"x-forwarded-host": "socket.up", "x-forwarded-proto": "http", "x-real-ip": peer, "x-forwarded-for": peer,
		"forwarded": "for=" + peer + `;host="socket.up";proto=http`, "x-forge": "1",
	} {
		assert.Equal(t, []string{want}, got[name], "%s: %s. proxyfields.go, classifyField", name, ruleForwardingFields)
	}
	for _, name := range []string{"x-forwarded-port", "x-forwarded", "x-forwarded-ssl", "true-client-ip", "x-original-url", "x-rewrite-url", "front-end-https",
		"x-forwarded-client-cert", "x-forwarded-tls-client-cert", "x-forwarded-preferred-username", "cf-connecting-ip", "x-envoy-external-address", "x-ssl-client-verify"} {
		assert.NotContains(t, got, name, "%s. proxyfields.go, classifyField", ruleForwardingFields)
	}
}

// A CGI program cannot distinguish X_Real_IP from X-Real-IP.
func TestFieldsAmbiguousToCGIAreDropped(t *testing.T) {
	t.Parallel()
	got, _ := forwardedFields(t, "Proxy: http://evil/\r\nPROXY: http://evil/\r\nX_Forwarded_For: 192.0.2.1\r\nX_Real-IP: 192.0.2.1\r\nContent_Length: 5\r\nX.Real.IP: 192.0.2.1\r\nUser_Name: me\r\nX-User-2: me\r\n",
		func(g *gateway.Gateway) { g.BehindProxy = true })

	for name := range got {
		assert.NotRegexp(t, `[_.]|^proxy$`, name, "house rule: a field that CGI would confuse with another is not forwarded. proxyfields.go, isDisguised")
	}
	assert.Equal(t, []string{"me"}, got["x-user-2"])
}

// After an unclosed quote the gateway's own element would become part of the
// client's.
func TestMalformedForwardedFieldIsDropped(t *testing.T) {
	t.Parallel()
	for value, passes := range map[string]bool{
		`for=192.0.2.1`: true,
		`for="[2001:db8::1]:80";proto=https, for=_b`: true,
		`For="a, b;c=\"d\""; by=_x`:                  true,
		` , for=a,,;;,for=b;`:                        true,
		`for="192.0.2.1`:                             false,
		`for="a\"`:                                   false,
		`for=a";by="b`:                               false,
		`for=[::1]`:                                  false,
		`for=a b`:                                    false,
		`for`:                                        false,
		`for=`:                                       false,
		`=a`:                                         false,
		`for =a`:                                     false,
		`for= a`:                                     false,
		`for="a"b`:                                   false,
		`for=é`:                                      false,
	} {
		got, peer := forwardedFields(t, "Forwarded: "+value+"\r\n")

		want := "for=" + peer + `;host="socket.up";proto=http`
		if passes {
			want = strings.Trim(value, " ") + ", " + want
		}
		assert.Equal(t, []string{want}, got["forwarded"], "MUST, RFC 7239 §4: %q parses: %v. proxyfields.go, validForwarded", value, passes)
	}
	two, peer := forwardedFields(t, "Forwarded: for=\"a\r\nForwarded: for=b\r\nForwarded: c\"\r\nX-Forwarded-For: \"192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n")
	assert.Equal(t, []string{"for=b, for=" + peer + `;host="socket.up";proto=http`}, two["forwarded"], "each line is validated alone: a quoted string does not span lines")
	assert.Equal(t, []string{"192.0.2.2, " + peer}, two["x-forwarded-for"], "X-Forwarded-For has no quotes")
}

func TestGatewayBehindAProxyKeepsItsForwardingFields(t *testing.T) {
	t.Parallel()
	trusting := func(g *gateway.Gateway) { g.BehindProxy = true }

	got, peer := forwardedFields(t, "X-Forwarded-Host: shop.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n", trusting)
	for name, want := range map[string]string{"x-forwarded-host": "shop.example", "x-forwarded-proto": "https", "x-forwarded-port": "443", "x-real-ip": peer} {
		assert.Equal(t, []string{want}, got[name], name)
	}

	got, _ = forwardedFields(t, "Connection: X-Forwarded-Proto\r\nX-Forwarded-Proto: https\r\n", trusting)
	assert.Equal(t, []string{"http"}, got["x-forwarded-proto"], "%s: Connection cannot remove it. forwarding.go, build", ruleForwardingFields)
}

// Requests that another site's page can make a browser send are rejected; those
// of programs and of the admin address's own pages are served.
func TestAdminRejectsCrossOriginRequests(t *testing.T) {
	t.Parallel()
	s := testutil.ServePolite(t)
	r, g := startGateway(t, s.Addr)
	sendAndRead(t, r.addr, "", "", get("/", closeField)).wantPrefix(t, "HTTP/1.1 200 ")
	g.AdminNames = []string{"Gate.example"}
	admin := startServer(t, withHandler(g.ProtectAdmin(adminRoutes(g))))
	const rule, look = "house rule: the admin address rejects cross-origin requests", "admin.go, crossOriginError"
	ask := func(method, host, fields string) transcript {
		return sendAndRead(t, admin.addr, rule, look, method+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n"+fields+"\r\n")
	}
	for _, bad := range []struct{ status, method, host, fields string }{
		{"421", "POST /-/drop", "evil.example", ""},
		{"421", "GET /-/stats", "evil.example:8081", ""},
		{"421", "GET /-/stats", "localhost.evil.example", ""},
		{"421", "OPTIONS /-/drop", "evil.example", ""},
		{"421", "GET http://evil.example/-/stats", "localhost", ""},
		{"403", "POST /-/drop", admin.addr, "Origin: http://evil.example\r\n"},
		{"403", "POST /-/drop", admin.addr, "Origin: null\r\n"},
		{"403", "POST /-/drop", admin.addr, "Origin: https://" + admin.addr + "\r\n"},
		{"403", "POST /-/drop", admin.addr, "Sec-Fetch-Site: cross-site\r\n"},
		{"403", "GET /-/metrics", admin.addr, "Sec-Fetch-Site: same-site\r\n"},
		{"415", "POST /-/drop", admin.addr, "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n"},
		{"415", "POST /-/drop", admin.addr, "Content-Type: Text/Plain; charset=utf-8\r\nContent-Length: 0\r\n"},
		{"415", "POST /-/drop", admin.addr, "Content-Type: multipart/form-data; boundary=a\r\nContent-Length: 0\r\n"},
		{"405", "GET /-/drop", admin.addr, ""},
	} {
		ask(bad.method, bad.host, bad.fields).wantPrefix(t, "HTTP/1.1 "+bad.status+" ")
	}
	assert.Equal(t, 1, g.Pool.Stats().Backend(s.Addr).Idle, "nothing has been dropped")

	for _, host := range []string{"localhost", "LocalHost:8081", "[::1]:8081", "192.0.2.1", "gate.example:8081", ""} {
		ask("GET /-/stats", host, "").wantPrefix(t, "HTTP/1.1 200 ")
	}
	own := "Origin: http://" + admin.addr + "\r\nSec-Fetch-Site: same-origin\r\n"
	ask("GET /-/stats", admin.addr, own).wantPrefix(t, "HTTP/1.1 200 ")
	ask("GET /-/stats", admin.addr, "Sec-Fetch-Site: none\r\n").wantPrefix(t, "HTTP/1.1 200 ")
	ask("POST /-/drop", admin.addr, own+"Content-Length: 0\r\n").wantPrefix(t, "HTTP/1.1 200 ")
	assert.Zero(t, g.Pool.Stats().Backend(s.Addr).Idle)
}

func TestAdminBeyondLoopbackLogsAWarning(t *testing.T) {
	t.Parallel()
	for addr, warned := range map[string]bool{"0.0.0.0:0": true, "127.0.0.1:0": false} {
		var logged logLines
		_, stop, err := gateway.New(newSmallPool(t, 1), nil).StartAdmin(addr, routes(), slog.New(slog.NewTextHandler(&logged, nil)))
		require.NoError(t, err)
		stop()

		assert.Equal(t, warned, strings.Contains(logged.String(), "can be reached from other machines"), "%s: %s", addr, logged.String())
	}
}
