package main

import (
	"net"
	"strings"
	"testing"
)

// Contract: which fields end at a gateway, and which are its own.

const (
	ruleNamedHops = "MUST, RFC 9110 §7.6.1: the fields that Connection names are removed"
	ruleKnownHops = "SHOULD, RFC 9110 §7.6.1: Keep-Alive, Proxy-Connection, TE and Upgrade are removed, also if Connection does not name them"
)

func TestHopByHopFieldsEndAtTheGateway(t *testing.T) {
	t.Parallel()
	t.Run("a request", func(t *testing.T) {
		back, seen := recording(lastOK("ok"))

		front := sendAndRead(t, contractGateway(t, back), ruleNamedHops, "forwarding.go, keepField", get("/", "Connection: close, X-Secret,x-other\r\n"+
			"X-Secret: 1\r\nX-Other: 2\r\nKeep-Alive: 3\r\nProxy-Connection: keep-alive\r\nTE: deflate\r\nUpgrade: h2c\r\nX-Passes: 4\r\n"))

		front.wantAnswer(t, "200", "ok")
		_, s := received(t, seen, front)
		for _, name := range []string{"X-Secret", "X-Other"} {
			s.wantNoField(t, name)
		}
		s = s.withRule(ruleKnownHops)
		for _, name := range []string{"Keep-Alive", "Proxy-Connection", "Upgrade"} {
			s.wantNoField(t, name)
		}
		for _, te := range s.fieldLines("TE") {
			if te != "trailers" { // the gateway's own
				s.fail(t, s.fieldAt("TE"), "TE was passed on")
			}
		}
		s.wantField(t, "X-Passes", "4")
	})
	t.Run("a response", func(t *testing.T) {
		back, _ := recording("HTTP/1.1 200 OK\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=9\r\nX-Passes: 4\r\nContent-Length: 2\r\n\r\nok")

		front := sendAndRead(t, contractGateway(t, back), ruleNamedHops, "gateway.go, copyHead", get("/", closeField))

		front.wantAnswer(t, "200", "ok")
		front.wantNoField(t, "X-Mine")
		front.withRule(ruleKnownHops).wantNoField(t, "Keep-Alive")
		front.wantField(t, "X-Passes", "4")
	})
}

// A gateway must not become a tunnel for a protocol that it does not understand.
func TestUpgradeAndCONNECTEndAtTheGateway(t *testing.T) {
	t.Parallel()
	t.Run("Upgrade", func(t *testing.T) {
		back, seen := recording(lastOK("ok"))

		front := sendAndRead(t, contractGateway(t, back), ruleNamedHops, "forwarding.go, hopByHopFields", get("/", "Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"))

		front.wantAnswer(t, "200", "ok")
		_, s := received(t, seen, front)
		s.wantNoField(t, "Upgrade")
		s.wantNoField(t, "HTTP2-Settings")
	})
	t.Run("CONNECT", func(t *testing.T) {
		back, seen := recording(lastOK("ok"))

		front := sendAndRead(t, contractGateway(t, back), "house rule, RFC 9110 §9.3.6: CONNECT is for proxies, and a gateway is not one", "request.go, parseTarget", "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\nConnection: close\r\n\r\n")

		front.wantPrefix(t, "HTTP/1.1 ")
		if front.got[9] != '4' && front.got[9] != '5' || len(seen) > 0 {
			front.fail(t, 9, "want a status that refuses, and no request at the backend (it got %d)", len(seen))
		}
	})
}

func TestViaGrowsByTheGateway(t *testing.T) {
	t.Parallel()
	const rule = "MUST, RFC 9110 §7.6.3: a gateway adds to Via its name and the version in which the request came"
	for version, via := range map[string]string{"HTTP/1.1": "1.1 ", "HTTP/1.0": "1.0 "} {
		t.Run(version, func(t *testing.T) {
			back, seen := recording(lastOK("ok"))

			front := sendAndRead(t, contractGateway(t, back), rule, "forwarding.go, build", "GET / "+version+"\r\nHost: x\r\nConnection: close\r\nVia: 1.0 before\r\n\r\n").ofHTTP10()

			front.wantAnswer(t, "200", "ok")
			_, s := received(t, seen, front)
			all := strings.Split(strings.Join(s.fieldLines("Via"), ","), ",")
			if strings.TrimSpace(all[0]) != "1.0 before" || len(all) != 2 || !strings.HasPrefix(strings.TrimSpace(all[1]), via) {
				s.fail(t, s.fieldAt("Via"), "Via is %q, want %q, and then %q with the gateway's name", s.fieldLines("Via"), "1.0 before", via)
			}
		})
	}
}

func TestMaxForwardsOfOPTIONSIsDecremented(t *testing.T) {
	t.Parallel()
	const rule = "MUST, RFC 9110 §7.6.2: OPTIONS with Max-Forwards: 0 is not forwarded; otherwise it is decremented"
	for came, passed := range map[string]string{"0": "", "1": "0", "10": "9"} {
		t.Run(came, func(t *testing.T) {
			back, seen := recording(lastOK("ok"))

			front := sendAndRead(t, contractGateway(t, back), rule, "forwarding.go, decrementMaxForwards", "OPTIONS /x HTTP/1.1\r\nHost: x\r\nMax-Forwards: "+came+"\r\nConnection: close\r\n\r\n")

			front.wantPrefix(t, "HTTP/1.1 2")
			if passed != "" {
				_, s := received(t, seen, front)
				s.wantField(t, "Max-Forwards", passed)
			} else if len(seen) > 0 {
				front.fail(t, 0, "the backend got it: %s", clip((<-seen).raw))
			}
		})
	}
}

// Connection removes the fields it names. It must not remove those the gateway adds:
// a backend that trusts its gateway believes X-Forwarded-For (CVE-2022-31813).
func TestForwardedForIsTheGatewaysWord(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string]string{
		"alone":               "",
		"the client's":        "X-Forwarded-For: 192.0.2.1\r\n",
		"in two lines":        "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n",
		"named by Connection": "Connection: X-Forwarded-For\r\nX-Forwarded-For: 192.0.2.1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			back, seen := recording(lastOK("ok"))
			addr := contractGateway(t, back)

			front := sendAndRead(t, addr, "house rule: X-Forwarded-For ends in the address of the client, which no client can change", "forwarding.go, appendGatewayFields", get("/", closeField, fields))

			front.wantAnswer(t, "200", "ok")
			_, s := received(t, seen, front)
			host, _, _ := net.SplitHostPort(addr)
			lines := s.fieldLines("X-Forwarded-For")
			if list := strings.Join(lines, ", "); list != host && !strings.HasSuffix(list, ", "+host) {
				s.fail(t, s.fieldAt("X-Forwarded-For"), "X-Forwarded-For is %q, want %s at the end", lines, host)
			}
		})
	}
}

func TestClientsCannotForgeTheGatewaysWord(t *testing.T) {
	t.Parallel()
	for name, forged := range map[string]string{
		"X-Forwarded-Host": "evil", "X-Forwarded-Proto": "evil", "X-Real-IP": "192.0.2.66",
		"X-Forwarded-Port": "666", "X-Original-URL": "/evil", "Proxy": "http://evil/", "X_Forwarded_For": "192.0.2.66", "X_Real_IP": "192.0.2.66",
	} {
		t.Run(name, func(t *testing.T) {
			back, seen := recording(lastOK("ok"))

			front := sendAndRead(t, contractGateway(t, back), "house rule: fields from which a backend learns where a request came from are the gateway's own, and so are those that CGI takes for them",
				"proxyfields.go, classifyField", get("/", closeField, name+": "+forged+"\r\n"))

			front.wantAnswer(t, "200", "ok")
			_, s := received(t, seen, front)
			for _, value := range s.fieldLines(name) {
				if strings.Contains(value, forged) {
					s.fail(t, s.fieldAt(name), "%s of a client was passed on", name)
				}
			}
		})
	}
}

// After an open quote the gateway's own element would be a part of the client's.
func TestMalformedForwardedIsNotContinued(t *testing.T) {
	t.Parallel()
	back, seen := recording(lastOK("ok"))

	front := sendAndRead(t, contractGateway(t, back), "house rule, RFC 7239 §4: a Forwarded that does not parse is dropped, not continued", "proxyfields.go, validForwarded", get("/", closeField, "Forwarded: for=\"192.0.2.1\r\n"))

	front.wantAnswer(t, "200", "ok")
	_, s := received(t, seen, front)
	for _, value := range s.fieldLines("Forwarded") {
		if strings.Contains(value, `for="192.0.2.1`) {
			s.fail(t, s.fieldAt("Forwarded"), "it was passed on")
		}
	}
}
