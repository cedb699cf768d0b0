package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
)

// An attack is what one client does, or a backend. run returns when its work is done,
// or when its time is over; then its connections are closed.
type attack struct {
	name  string
	says  string
	modes string // that it makes sense in
	kind  kind
	run   func(*assault)
}

// A kind of attack says what it is after.
type kind int

const (
	takes  kind = iota // places that others want; it goes on until its time is over
	parks              // memory; goes on as well
	works              // CPU time for each byte; it is done when it is done
	honest             // nothing: it is slow, and must get what it wants
)

// length is how long an attack takes at most.
var length = [...]time.Duration{takes: 2 * time.Second, parks: 3 * time.Second, works: 4 * time.Second, honest: 27 * time.Second}

// light says whether it needs hardly any CPU time: then all modes run at once.
func (k kind) light() bool { return k == takes || k == honest }

const (
	proxies = "pool engine"
	every   = "server pool engine"
	race    = "server pool engine nginx"
)

var attacks = []attack{
	// One client takes all places.
	{"sleep-pipelined", "32 requests that take long, pipelined on one connection", proxies, takes, func(a *assault) {
		a.send(a.dial(""), strings.Repeat(get("/sleep/20s"), 32))
	}},
	{"sleep-connections", "32 connections, each with a request that takes long", proxies, takes, func(a *assault) {
		a.each(32, func(int) { a.send(a.dial(""), get("/sleep/20s")) })
	}},
	{"sleep-neighbour", "the same, from the honest client's own address", proxies, takes, func(a *assault) {
		a.each(32, func(int) { a.send(a.dial(honestAddress), get("/sleep/20s")) })
	}},
	{"sleep-500", "500 connections, each with a request that takes long", proxies, takes, func(a *assault) {
		a.each(500, func(int) { a.send(a.dial(""), get("/sleep/20s")) })
	}},
	{"sleep-addresses", "40 addresses, each with one request that takes long", proxies, takes, func(a *assault) {
		a.each(40, func(i int) { a.send(a.dial(fmt.Sprintf("127.0.1.%d", i+1)), get("/sleep/20s")) })
	}},
	{"sleep-half-closed", "32 connections that ask and close their sending side", proxies, takes, func(a *assault) {
		a.each(32, func(int) {
			c := a.dial("")
			a.send(c, get("/sleep/20s"))
			c.CloseWrite()
		})
	}},
	{"sleep-gone", "connections that ask and close, 32 at a time, again and again", proxies, takes, func(a *assault) {
		a.each(32, func(int) {
			for !a.over() {
				c := a.dial("")
				a.send(c, get("/sleep/20s"))
				a.pause(50 * time.Millisecond)
				c.Close()
			}
		})
	}},
	{"slow-uploads", "32 uploads of which a byte comes every 100 ms", proxies, takes, func(a *assault) {
		a.each(32, func(int) {
			c := a.dial("")
			a.send(c, post("/echo", 1<<20))
			a.drip(c, strings.Repeat("x", 1<<20), 100*time.Millisecond)
		})
	}},
	{"slow-chunked-uploads", "the same in chunks, whose length nobody knows", proxies, takes, func(a *assault) {
		a.each(32, func(int) {
			c := a.dial("")
			a.send(c, post("/echo", chunked)+"fffff\r\n")
			a.drip(c, strings.Repeat("x", 0xfffff), 100*time.Millisecond)
		})
	}},
	{"slow-downloads", "32 downloads of 4 MB, read at 10 kB/s", proxies, takes, func(a *assault) {
		a.each(32, func(int) {
			c := a.dial("")
			a.send(c, get("/files/4m"))
			a.sip(c, 10<<10)
		})
	}},
	{"never-reading", "32 downloads of 16 MB that are never read", proxies, takes, func(a *assault) {
		a.each(32, func(int) { a.send(a.dialDeaf(), get("/files/16m")) })
	}},
	{"parked-behind", "2 connections that ask a backend that never answers, and behind that for 31 long answers of the other", proxies, takes, func(a *assault) {
		a.each(2, func(int) { a.send(a.dial(""), get("/evil1/never")+strings.Repeat(get("/files/256k"), 31)) })
	}},
	{"parked-addresses", "the same from 40 addresses", proxies, takes, func(a *assault) {
		a.each(40, func(i int) {
			a.send(a.dial(fmt.Sprintf("127.0.1.%d", i+1)), get("/evil1/never")+strings.Repeat(get("/files/256k"), 31))
		})
	}},
	{"parked-neighbour", "the same from the honest client's own address", proxies, takes, func(a *assault) {
		a.each(4, func(int) {
			a.send(a.dial(honestAddress), get("/evil1/never")+strings.Repeat(get("/files/256k"), 31))
		})
	}},
	{"slow-backend", "40 requests to another backend that never answers", proxies, takes, func(a *assault) {
		a.each(40, func(int) { a.send(a.dial(""), get("/evil1/never")) })
	}},
	{"slow-backends", "40 requests to each of 8 other backends that never answer, from 40 addresses", proxies, takes, func(a *assault) {
		a.each(320, func(i int) {
			a.send(a.dial(fmt.Sprintf("127.0.1.%d", i%40+1)), get(fmt.Sprintf("/evil%d/never", i/40+1)))
		})
	}},
	{"endless-heads", "200 connections with a head that never ends, a byte every 20 ms", every, takes, func(a *assault) {
		a.each(200, func(int) {
			a.drip(a.dial(""), "GET / HTTP/1.1\r\n"+strings.Repeat("a: b\r\n", 1<<10), 20*time.Millisecond)
		})
	}},
	{"greedy", "8 connections with 32 requests in flight, always", race, works, func(a *assault) {
		a.each(8, func(int) {
			c := a.dial("")
			for range 500 {
				a.ask(c, strings.Repeat(get("/"), 32), 32)
			}
		})
	}},

	// What waits is memory.
	{"parked-answers", "500 connections: a request that takes long, and 31 answers of 32 KiB behind it", every, parks, func(a *assault) {
		a.each(500, func(int) { a.send(a.dial(""), get("/sleep/25s")+strings.Repeat(get("/files/32k"), 31)) })
	}},
	{"parked-second-backend", "the same, behind a request to another backend that never answers", proxies, parks, func(a *assault) {
		a.each(500, func(int) { a.send(a.dial(""), get("/evil1/never")+strings.Repeat(get("/files/32k"), 31)) })
	}},
	{"unread-answers", "500 connections: 32 answers of 32 KiB each that are never read", every, parks, func(a *assault) {
		a.each(500, func(int) { a.send(a.dialDeaf(), strings.Repeat(get("/files/32k"), 32)) })
	}},
	{"queued-heads", "100 connections: 32 requests with heads of 15 KB that take long", every, parks, func(a *assault) {
		a.each(100, func(int) {
			a.send(a.dial(""), strings.Repeat(get("/sleep/25s", "Cookie: "+strings.Repeat("x", 15<<10)), 32))
		})
	}},
	{"forwarded-lists", "50 connections: 32 requests with 90 X-Forwarded-For fields, which a gateway joins", proxies, parks, func(a *assault) {
		a.each(50, func(int) {
			a.send(a.dial(""), strings.Repeat(get("/sleep/25s", repeat("X-Forwarded-For: "+strings.Repeat("1", 140), 90)...), 32))
		})
	}},
	{"held-bodies", "24 uploads of 8 MiB that lack their last byte", every, parks, func(a *assault) {
		body := strings.Repeat("x", 8<<20-1)
		a.each(24, func(int) { a.send(a.dial(""), post("/echo", 8<<20)+body) })
	}},

	// Work that is more than the bytes are.
	{"chunks-up", "an upload of 300,000 chunks of one byte", race, works, func(a *assault) {
		a.ask(a.dial(""), post("/echo", chunked)+strings.Repeat("1\r\nx\r\n", 300_000)+"0\r\n\r\n", 1)
	}},
	{"chunks-extended", "an upload of 60,000 chunks of one byte with extensions", race, works, func(a *assault) {
		a.ask(a.dial(""), post("/echo", chunked)+strings.Repeat("1;a;b;c;d;e;f\r\nx\r\n", 60_000)+"0\r\n\r\n", 1)
	}},
	{"chunks-down", "a backend's answer of 300,000 chunks of one byte", "pool engine nginx", works, func(a *assault) {
		a.ask(a.dial(""), get("/evil1/chunks"), 1)
	}},
	{"connection-list", "100 heads of 15 KB: 90 fields, and all that Connection names", race, works, func(a *assault) {
		a.repeat(get("/", append(repeat("Xabcd: y", 90), naming("Connection: ", "abcde", 14<<10))...), 100)
	}},
	{"connection-trailer", "100 heads of 15 KB: Connection names 7 KB, and Trailer as many", race, works, func(a *assault) {
		a.repeat(get("/", naming("Connection: ", "etax", 7<<10), naming("Trailer: ", "etag", 7<<10)), 100)
	}},
	{"connection-te", "100 heads of 15 KB: TE, Via and X-Forwarded-For are long lists", race, works, func(a *assault) {
		a.repeat(get("/", naming("TE: ", "x", 7<<10), naming("X-Forwarded-For: ", "1", 7<<10)), 100)
	}},
	{"connection-empty", "100 heads of 15 KB: Connection is commas", race, works, func(a *assault) {
		a.repeat(get("/", "Connection: "+strings.Repeat(",", 14<<10)), 100)
	}},
	{"answer-connection-list", "100 answers with heads of 15 KB: 180 fields, and all that Connection names", "pool engine nginx", works, func(a *assault) {
		a.repeat(get("/evil1/list"), 100)
	}},
	{"forwarded-joined", "100 heads of 15 KB: 90 X-Forwarded-For fields", race, works, func(a *assault) {
		a.repeat(get("/", repeat("X-Forwarded-For: "+strings.Repeat("1", 140), 90)...), 100)
	}},
	{"many-cookies", "1,000 heads with 90 short cookies", race, works, func(a *assault) {
		a.repeat(get("/", repeat("Cookie: a=b", 90)...), 1000)
	}},
	{"one-letter-names", "1,000 heads with 90 fields of four bytes", race, works, func(a *assault) {
		a.repeat(get("/", repeat("a:", 90)...), 1000)
	}},
	{"doubtful-paths", "100 heads whose paths of 8 KB can be read in many ways", race, works, func(a *assault) {
		a.repeat(get("/x"+strings.Repeat("/a;%2e", 7<<10/6)), 100)
	}},
	{"dripped-head", "heads of 8 KB made of short lines, a byte in each packet", race, works, func(a *assault) {
		c := a.dial("")
		for range 5 {
			a.drip(c, "GET / HTTP/1.1\r\nHost: a\r\n"+strings.Repeat("a:\r\n", 2000)[:8000]+"\r\n", 0)
			c = a.dial("") // 431: too many fields
		}
	}},
	{"dripped-trailers", "trailers of 8 KB, a byte in each packet", race, works, func(a *assault) {
		for range 5 {
			c := a.dial("")
			a.send(c, post("/echo", chunked)+"1\r\nx\r\n0\r\n")
			a.drip(c, strings.Repeat("a:\r\n", 2000)+"\r\n", 0)
		}
	}},
	{"tiny-requests", "30,000 requests of 27 bytes, pipelined", race, works, func(a *assault) {
		a.repeat("GET / HTTP/1.1\r\nHost:a\r\n\r\n", 30_000)
	}},
	{"tiny-404s", "30,000 requests for what is not there, pipelined", race, works, func(a *assault) {
		a.repeat("GET /a HTTP/1.1\r\nHost:a\r\n\r\n", 30_000)
	}},
	{"tiny-uploads", "10,000 uploads of one byte, pipelined", race, works, func(a *assault) {
		a.repeat("POST /echo HTTP/1.1\r\nHost:a\r\nContent-Length:1\r\n\r\nx", 10_000)
	}},
	{"new-connections", "2,000 connections with one request each", race, works, func(a *assault) {
		a.each(4, func(int) {
			for range 500 {
				a.ask(a.dial(""), get("/", "Connection: close"), 1)
			}
		})
	}},

	// Honest clients that take their time.
	{"slow-reader", "4 MB read at 40 kB/s for 24 s, the rest at once: it must be whole", race, honest, func(a *assault) {
		c := a.dialSlow()
		a.send(c, get("/files/4m", "Connection: close"))
		began := time.Now()
		n := a.sipFor(c, 40<<10, 24*time.Second)
		rest, err := io.Copy(io.Discard, c)
		a.notes("%s after %v: %d kB slowly, %d kB at once, %v", verdict(n+rest >= 4<<20), time.Since(began).Round(time.Second), n>>10, rest>>10, err)
	}},
	{"slow-writer", "1 MB written at 40 kB/s", every, honest, func(a *assault) {
		c := a.dial("")
		a.send(c, post("/echo", 24*40<<10))
		for range 24 * 10 {
			a.send(c, strings.Repeat("x", 4<<10))
			a.pause(100 * time.Millisecond)
		}
		a.notes("%s", verdict(a.answer(c) == nil))
	}},
}

func verdict(good bool) string {
	if good {
		return "whole"
	}
	return "CUT"
}

const chunked = -1

// get is a request with further fields.
func get(path string, fields ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: a\r\n" + lines(fields) + "\r\n"
}

// post is the head of a request with a body of n bytes, or in chunks.
func post(path string, n int) string {
	if n == chunked {
		return "POST " + path + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	}
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", path, n)
}

func lines(fields []string) (b string) {
	for _, f := range fields {
		b += f + "\r\n"
	}
	return b
}

func repeat(s string, n int) (all []string) {
	for range n {
		all = append(all, s)
	}
	return all
}

// naming is a field whose value names member again and again, in n bytes.
func naming(name, member string, n int) string {
	members := strings.Repeat(member+",", n/(len(member)+1))
	return name + members[:len(members)-1]
}

// badAnswers are what the backends of evil.go answer, by the end of the path.
var badAnswers = map[string][]byte{
	"chunks": append(bytes.Join([][]byte{[]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
		bytes.Repeat([]byte("1\r\nx\r\n"), 300_000)}, nil), "0\r\n\r\n"...),
	"list": []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + lines(repeat("Xabcd: y", 180)) + naming("Connection: ", "abcde", 13<<10) + "\r\n\r\n"),
}
