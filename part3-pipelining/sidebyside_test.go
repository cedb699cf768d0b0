package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

// What clients, and the requests of one client, may do to each other.

func TestSilentClientsDelayNoOther(t *testing.T) {
	addr := contract(t)
	for _, sent := range []string{"", "GET / HT", get("/")} { // the last waits on a connection that is kept
		io.WriteString(dial(t, addr), sent)
	}

	s := sendAndRead(t, addr, "house rule: a client that is silent, or slow, makes no other wait", "driver.go", get("/", closeField))

	s.wantPrefix(t, "HTTP/1.1 200 ")
	s.wantCleanEnd(t)
}

// A GET after a POST may ask for what the POST changes, with or without a body.
func TestUnsafeRequestRunsAlone(t *testing.T) {
	const each, ruleUnsafe = 150 * time.Millisecond, "house rule, RFC 9112 §9.3.2: only requests with safe methods may be handled in parallel"
	addr := contract(t)
	for _, unsafe := range []struct{ method, body string }{{"POST", "x"}, {"POST", ""}, {"PUT", ""}} {
		sent := get("/sleep/150ms") + strings.Replace(post("/echo", unsafe.body), "POST", unsafe.method, 1) + get("/sleep/150ms", closeField)
		begin := time.Now()
		s := sendAndRead(t, addr, ruleUnsafe, "exchange.go, parse", sent)
		took := time.Since(begin)

		all := s.parseUntilClose(t, "GET", unsafe.method, "GET")
		s.wantSame(t, "the body of the "+unsafe.method, unsafe.body, all[1].body)
		if len(all) == 3 && took < 2*each {
			s.fail(t, len(s.got), "two sleeps of %v with a %s between them took %v: they ran side by side", each, unsafe.method, took)
		}
	}

	sent := get("/sleep/150ms") + post("/sleep/150ms", "") + get("/sleep/150ms", closeField)
	begin := time.Now()
	s := sendAndRead(t, addr, ruleUnsafe, "exchange.go, parse", sent)
	took := time.Since(begin)

	if all := s.parseUntilClose(t, "GET", "POST", "GET"); len(all) == 3 && took < 3*each {
		s.fail(t, len(s.got), "a POST that takes %v, between two GETs that do, took %v with them: it ran beside one", each, took)
	}
}
