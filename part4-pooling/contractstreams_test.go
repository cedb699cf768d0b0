package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"socketup/part4-pooling/http2"
)

// Contract: a gateway whose backend speaks HTTP/2 (notes/steps/part4-streams.md).

const (
	rulePreface  = "MUST, RFC 9113 §3.4: a client sends the preface, then SETTINGS, which may be empty"
	ruleBlock    = "MUST, RFC 9113 §4.3: a header block is decoded whole, whatever representation its fields have"
	rulePseudo   = "MUST, RFC 9113 §8.3.1: :method, :scheme and :path, ahead of all fields"
	ruleNumbers  = "MUST, RFC 9113 §5: frames of several streams are interleaved, and each belongs to the stream that it names"
	ruleWindow   = "MUST, RFC 9113 §6.9: a receiver says with WINDOW_UPDATE that it has consumed bytes"
	ruleSend     = "MUST NOT, RFC 9113 §6.9.1: no more DATA than both windows allow"
	ruleGoAway   = "house rule, RFC 9113 §6.8: streams above the last one that GOAWAY names were not processed, and are safe to send again"
	ruleOnce     = "MUST NOT, RFC 9110 §9.2.2: a request with a method that is not idempotent is not repeated automatically"
	ruleRefused  = "house rule, RFC 9113 §8.7: after REFUSED_STREAM the request is safe to send again"
	ruleCancel   = "house rule, RFC 9113 §5.4.2: a response that no client waits for is cancelled with RST_STREAM; the connection is kept"
	ruleLimit    = "MUST NOT, RFC 9113 §5.1.2: no more streams than SETTINGS_MAX_CONCURRENT_STREAMS"
	ruleSharing  = "house rule: all clients share a connection to the backend, as long as it allows more streams"
	ruleIsolated = "house rule, RFC 9113 §5.2: a client that does not read stops its own stream, and no other"
)

// answerTo reads the response on c.
func answerTo(c net.Conn, sent, rule, look string) transcript {
	return transcript{sent: sent, rule: rule, look: look}.readAll(c)
}

// laterAnswer reads it meanwhile.
func laterAnswer(c net.Conn, sent, rule, look string) <-chan transcript {
	all := make(chan transcript, 1)
	go func() { all <- answerTo(c, sent, rule, look) }() // ends with the response, or after patience
	return all
}

func TestPrefaceAndSettingsComeFirst(t *testing.T) {
	t.Parallel()
	const look = "http2lane.go, openHTTP2Lane"
	addr, back := startStreams(t, rulePreface, look)
	request := get("/hello", closeField)
	c := converse(t, addr, request)

	q := back.request("a client has asked for /hello")
	q.until("the gateway acknowledges our SETTINGS", func() bool { return q.acked > 0 })
	q.respond("hello over HTTP/2")

	answerTo(c, request, rulePreface, look).wantAnswer(t, "200", "hello over HTTP/2")
	back.check()
}

func TestUnknownFramesAreIgnored(t *testing.T) {
	t.Parallel()
	const rule, look = "MUST, RFC 9113 §5.5: frames of unknown types are discarded, §4.1: the first bit of a stream's number is ignored", "http2read.go, handle"
	addr, back := startStreams(t, rule, look, http2.Setting{ID: 0x7777, Value: 7})
	request := get("/", closeField)
	c := converse(t, addr, request)

	q := back.request("the gateway knows not all of our settings, and uses the connection")
	q.Write(append(http2.AppendFrameHeader(nil, 3, 0xbe, 0xff, q.id), "abc"...))
	q.Write(append(http2.AppendFrameHeader(nil, 5, http2.FramePriority, 0, q.id), 0, 0, 0, 0, 7))
	q.Write([]byte("\x00\x00\x00\x04\x00\x80\x00\x00\x00")) // SETTINGS, with that bit
	q.respond("ok")

	answerTo(c, request, rule, look).wantAnswer(t, "200", "ok")
}

// Response heads as encoders write them, but for the dynamic table.
func TestHeaderBlocksAreDecoded(t *testing.T) {
	t.Parallel()
	const look = "decode.go, Decode"
	for name, block := range map[string]string{
		"indexed":              "\x88\x5c\x012",
		"spelled out":          "\x00\x07:status\x03200\x00\x0econtent-length\x012",
		"an indexed name":      "\x08\x03200\x0f\x0d\x012",
		"never indexed":        "\x88\x1f\x0d\x012",
		"Huffman":              "\x08\x82\x10\x01\x0f\x0d\x81\x17",
		"a table of size zero": "\x20\x88\x0f\x0d\x012",
	} {
		for _, pieces := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s in %d frames", name, pieces), func(t *testing.T) {
				addr, back := startStreams(t, ruleBlock, look)
				request := get("/", closeField)
				c := converse(t, addr, request)
				q := back.request("a client has asked for /")

				q.Write(headersInPieces(q.id, 0, block, pieces))
				q.send("ok", true, patience())

				answerTo(c, request, ruleBlock, look).wantAnswer(t, "200", "ok")
			})
		}
	}
}

// headersInPieces returns a padded HEADERS frame and CONTINUATION frames with block.
func headersInPieces(id uint32, flags http2.Flags, block string, pieces int) (b []byte) {
	first := block[:len(block)/pieces]
	flags |= http2.FlagPadded
	if pieces == 1 {
		flags |= http2.FlagEndHeaders
	}
	b = append(http2.AppendFrameHeader(nil, 1+len(first)+4, http2.FrameHeaders, flags, id), 4)
	b = append(b, first+"\x00\x00\x00\x00"...)
	for rest := block[len(first):]; rest != ""; {
		n := min(len(rest), len(block)/pieces)
		flags = 0
		if n == len(rest) {
			flags = http2.FlagEndHeaders
		}
		b = append(http2.AppendFrameHeader(b, n, http2.FrameContinuation, flags, id), rest[:n]...)
		rest = rest[n:]
	}
	return b
}

func TestRequestsArePseudoFieldsAndFields(t *testing.T) {
	t.Parallel()
	const look = "requestfields.go, AppendRequestField"
	addr, back := startStreams(t, rulePseudo, look)
	request := "GET /a?b=1 HTTP/1.1\r\nHost: example.org\r\nX-Mine: Yes\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nTE: gzip\r\nKeep-Alive: 3\r\nUpgrade: h2c\r\n\r\n"
	c := converse(t, addr, request)

	q := back.request("a client has asked for /a?b=1")
	for name, want := range map[string]string{":method": "GET", ":path": "/a?b=1", "x-mine": "Yes"} {
		if got := q.field(name); got != want {
			back.fail("the field %s is %q, want %q", name, got, want)
		}
	}
	if q.field(":authority") != "example.org" && q.field("host") != "example.org" { // HAProxy and nghttpx keep Host
		back.fail(":authority is %q, and host %q", q.field(":authority"), q.field("host"))
	}
	if scheme := q.field(":scheme"); scheme != "http" && scheme != "https" { // HAProxy says the latter
		back.fail(":scheme is %q", scheme)
	}
	pseudo := true
	for _, f := range q.fields {
		name := string(f.Name)
		if isPseudo := strings.HasPrefix(name, ":"); isPseudo && !pseudo {
			back.fail("%s comes after a field", name)
		} else {
			pseudo = isPseudo
		}
		switch {
		case name != strings.ToLower(name):
			back.rule = "MUST, RFC 9113 §8.2.1: names of fields are in lower case"
			back.fail("the field %q is not in lower case", name)
		case name == "connection", name == "x-secret", name == "keep-alive", name == "upgrade", name == "transfer-encoding", name == "te":
			back.rule = "MUST NOT, RFC 9113 §8.2.2: no field about a connection, and TE only with trailers"
			back.fail("the field %s is forwarded", name)
		case (name == "host" || name == ":authority") && string(f.Value) != "example.org":
			back.fail("%s is %q", name, f.Value)
		}
	}
	q.respond("ok")
	answerTo(c, request, rulePseudo, look).wantAnswer(t, "200", "ok")
}

// A response that would become two on the way, or lies about its length, reaches no client
// as if it were good.
func TestMalformedResponseHeadsAreNotForwarded(t *testing.T) {
	t.Parallel()
	const rule, look = "MUST, RFC 9113 §8.1.1: an intermediary does not forward a malformed response", "head.go, ParseResponseHead"
	for name, fields := range map[string][]string{
		"no status":           {"content-length: 0"},
		"a status of letters": {":status: abc"},
		"a line break":        {":status: 200", "x-a: 1\r\nx-b: 2"},
		"an upper-case name":  {":status: 200", "X-A: 1"},
		"transfer-encoding":   {":status: 200", "transfer-encoding: chunked"},
		"two lengths":         {":status: 200", "content-length: 0", "content-length: 5"},
		"a length of letters": {":status: 200", "content-length: five"},
		"a late pseudo-field": {"x-a: 1", ":status: 200"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, back := startStreams(t, rule, look)
			request := get("/", closeField)
			c := converse(t, addr, request)

			back.request("a client has asked for /").head(true, fields...)

			answerTo(c, request, rule, look).want502OrNothing(t)
		})
	}
}

// want502OrNothing wants the status for a backend that failed, or the end of the connection,
// by which nghttpx says the same.
func (s transcript) want502OrNothing(t testing.TB) {
	t.Helper()
	if s.got != "" || s.end != nil {
		s.wantPrefix(t, "HTTP/1.1 502 ")
	}
}

func TestTwoClientsShareAConnection(t *testing.T) {
	t.Parallel()
	const look = "multiplexer.go, dispatch"
	addr, back := startStreams(t, ruleSharing, look)
	one, two := converse(t, addr, get("/one", closeField)), converse(t, addr, get("/two", closeField))

	first, second := back.request("one of two clients has asked"), back.request("two clients have asked, and one request has arrived")
	if first.streamPeer != second.streamPeer {
		back.fail("two requests came on %d connections", back.connections())
	}
	for _, q := range []*streamRequest{second, first} {
		q.respond(q.field(":path"))
	}

	answerTo(one, get("/one"), ruleSharing, look).wantAnswer(t, "200", "/one")
	answerTo(two, get("/two"), ruleSharing, look).wantAnswer(t, "200", "/two")
}

// The second response is complete before the first has begun, and then the pieces of two
// bodies alternate.
func TestResponsesComeInAnyOrder(t *testing.T) {
	t.Parallel()
	const look = "http2pass.go, borrow"
	addr, back := startStreams(t, ruleNumbers, look)
	clients, requests := make([]net.Conn, 3), make([]*streamRequest, 3)
	for i := range clients {
		clients[i] = converse(t, addr, get(fmt.Sprint("/", i), closeField))
		requests[i] = back.request("clients ask one after the other")
	}

	requests[1].respond("1111")
	answerTo(clients[1], get("/1"), ruleNumbers, look).wantAnswer(t, "200", "1111")

	for _, i := range []int{2, 0} {
		requests[i].head(false, ":status: 200", "content-length: 4")
	}
	for piece := range 4 {
		for _, i := range []int{0, 2} {
			requests[i].send(fmt.Sprint(i), piece == 3, patience())
		}
	}
	answerTo(clients[0], get("/0"), ruleNumbers, look).wantAnswer(t, "200", "0000")
	answerTo(clients[2], get("/2"), ruleNumbers, look).wantAnswer(t, "200", "2222")
}

func TestPingIsAnswered(t *testing.T) {
	t.Parallel()
	addr, back := startStreams(t, "MUST, RFC 9113 §6.7: PING is answered with ACK and the same 8 bytes", "http2frames.go, onPing")
	c := converse(t, addr, get("/", closeField))
	q := back.request("a client has asked for /")

	for range 3 {
		q.await() // while a request waits for its response
	}

	q.respond("ok")
	answerTo(c, get("/"), back.rule, back.look).wantAnswer(t, "200", "ok")
}

func TestStreamLimitIsRespected(t *testing.T) {
	t.Parallel()
	addr, back := startStreams(t, ruleLimit, "multiplexer.go, take", http2.Setting{ID: http2.SettingMaxConcurrentStreams, Value: 2})
	warm := converse(t, addr, get("/", closeField))
	q := back.request("a client has asked for /")
	q.until("the gateway acknowledges our SETTINGS", func() bool { return q.acked > 0 })
	q.respond("ok")
	answerTo(warm, get("/"), ruleLimit, back.look).wantAnswer(t, "200", "ok")

	var clients []net.Conn
	for i := range 5 {
		clients = append(clients, converse(t, addr, get(fmt.Sprint("/", i), closeField)))
	}
	for range clients {
		q := back.request("5 clients have asked; each connection allows 2 streams")
		q.settle()
		q.respond(q.field(":path"))
	}
	for i, c := range clients {
		answerTo(c, get(fmt.Sprint("/", i)), ruleLimit, back.look).wantAnswer(t, "200", fmt.Sprint("/", i))
	}
	back.check()
}

func TestResponseNeedsTheWindowGivenBack(t *testing.T) {
	t.Parallel()
	const look = "http2lane.go, giveCredit"
	body := strings.Repeat("0123456789abcdef", 1<<20/16)
	addr, back := startStreams(t, ruleWindow, look)
	for range 2 { // the second needs what the first has used of the connection's window
		request := get("/megabyte", closeField)
		front := laterAnswer(converse(t, addr, request), request, ruleWindow, look)

		back.request("a client has asked for /megabyte").respond(body)

		receive(t, front, "the response").wantAnswer(t, "200", body)
	}
}

func TestSlowClientStopsOnlyItsOwnStream(t *testing.T) {
	t.Parallel()
	const look, most = "http2pass.go, passData", 64 << 20
	addr, back := startStreams(t, ruleIsolated, look)
	dial(t, addr).Write([]byte(get("/download"))) // and reads nothing
	big := back.request("a client has asked for /download")
	big.head(false, ":status: 200", fmt.Sprintf("content-length: %d", most))

	sent := big.send(strings.Repeat("x", most), false, 300*time.Millisecond)
	if sent == most {
		back.fail("the gateway has taken %d MiB for a client that reads nothing", most>>20)
	}

	request := get("/quick", closeField)
	c := converse(t, addr, request)
	q := back.request(fmt.Sprintf("another client has asked; the first reads nothing, and its stream has stopped after %d bytes", sent))
	q.respond("quick")
	answerTo(c, request, ruleIsolated, look).wantAnswer(t, "200", "quick")
}

func TestUploadRespectsTheWindow(t *testing.T) {
	t.Parallel()
	const look, window = "http2upload.go, sendBody", 100
	addr, back := startStreams(t, ruleSend, look, http2.Setting{ID: http2.SettingInitialWindowSize, Value: window})
	warm := converse(t, addr, get("/", closeField))
	q := back.request("a client has asked for /")
	q.until("the gateway acknowledges our SETTINGS", func() bool { return q.acked > 0 })
	q.respond("ok")
	answerTo(warm, get("/"), ruleSend, look).wantAnswer(t, "200", "ok")
	body := strings.Repeat("0123456789", 100)
	request := post("/upload", body, closeField)
	front := laterAnswer(converse(t, addr, request), request, ruleSend, look)

	q = back.request("a client has sent a POST")
	for arrived := 0; arrived < len(body); arrived += window {
		q.until(fmt.Sprintf("%d bytes of the body arrive, which the window allows", arrived+window), func() bool { return len(q.body) == arrived+window })
		q.await() // and not more
		q.mu.Lock()
		q.credit += window
		q.mu.Unlock()
		q.Write(http2.AppendWindowUpdate(nil, q.id, window))
	}
	q.until("END_STREAM ends the body", func() bool { return q.whole })
	if q.body != body {
		back.fail("the body is %s", clip(q.body))
	}
	q.respond("thank you")

	receive(t, front, "the response").wantAnswer(t, "200", "thank you")
}

func TestRequestsAfterGOAWAYAreSentAgain(t *testing.T) {
	t.Parallel()
	const look = "http2frames.go, onGoAway"
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			addr, back := startStreams(t, ruleGoAway, look)
			ask := func(path string) (net.Conn, *streamRequest) {
				c := converse(t, addr, method+" "+path+" HTTP/1.1\r\nHost: socket.up\r\nContent-Length: 0\r\n"+closeField+"\r\n")
				return c, back.request("a client has sent " + method + " " + path)
			}
			one, first := ask("/one")
			two, second := ask("/two")
			if first.streamPeer != second.streamPeer {
				back.fail("the two requests came on two connections")
			}

			first.Write(http2.AppendGoAway(nil, first.id, http2.NoError, ""))

			again := back.request("GOAWAY said that " + method + " /two was not processed: it is sent again, on a new connection")
			if again.streamPeer == first.streamPeer || again.field(":path") != "/two" {
				back.fail("after GOAWAY, connection %d gets %s", again.number, again.field(":path"))
			}
			again.respond("/two")
			first.respond("/one") // its stream goes on
			answerTo(two, method+" /two", ruleGoAway, look).wantAnswer(t, "200", "/two")
			answerTo(one, method+" /one", ruleGoAway, look).wantAnswer(t, "200", "/one")
		})
	}
}

func TestRefusedStreamIsSentAgain(t *testing.T) {
	t.Parallel()
	const look = "http2frames.go, onReset"
	addr, back := startStreams(t, ruleRefused, look)
	request := "POST /refused HTTP/1.1\r\nHost: socket.up\r\nContent-Length: 0\r\n" + closeField + "\r\n"
	c := converse(t, addr, request)

	q := back.request("a client has sent a POST")
	q.Write(http2.AppendRSTStream(nil, q.id, http2.RefusedStream))
	back.request("the backend has refused the stream: nothing was done").respond("done")

	answerTo(c, request, ruleRefused, look).wantAnswer(t, "200", "done")
}

func TestPOSTThatMayHaveBeenProcessedIsSentOnce(t *testing.T) {
	t.Parallel()
	const look = "http2pass.go, decide"
	for name, end := range map[string]func(q *streamRequest){
		"the connection ends": func(q *streamRequest) { q.CloseWrite() },
		"GOAWAY names it, and then it ends": func(q *streamRequest) {
			q.Write(http2.AppendGoAway(nil, q.id, http2.InternalError, ""))
			q.CloseWrite()
		},
		"the stream is reset": func(q *streamRequest) { q.Write(http2.AppendRSTStream(nil, q.id, http2.InternalError)) },
	} {
		t.Run(name, func(t *testing.T) {
			addr, back := startStreams(t, ruleOnce, look)
			request := "POST /pay HTTP/1.1\r\nHost: socket.up\r\nContent-Length: 0\r\n" + closeField + "\r\n"
			front := laterAnswer(converse(t, addr, request), request, ruleOnce, look)

			end(back.request("a client has sent a POST"))

			select {
			case s := <-front:
				s.want502OrNothing(t)
			case q := <-back.requests:
				back.fail("the backend gets %s %s twice", q.field(":method"), q.field(":path"))
			case <-time.After(patience()):
				back.fail("the client gets no response")
			}
		})
	}
}

// The client leaves while its response is on the way: a gateway notices it when it writes.
func TestGoneClientCancelsItsStream(t *testing.T) {
	t.Parallel()
	const look = "http2lane.go, cancel"
	addr, back := startStreams(t, ruleCancel, look)
	gone := converse(t, addr, get("/endless"))
	q := back.request("a client has asked for /endless")
	q.head(false, ":status: 200")
	q.send("begin", false, patience())
	if _, err := io.ReadAtLeast(gone, make([]byte, 1<<10), 1); err != nil {
		back.fail("the client gets nothing of a response that goes on: %v", err)
	}

	gone.SetLinger(0) // a reset
	gone.Close()

	deadline := time.Now().Add(patience())
	for q.reaches(10*time.Millisecond, func() bool { return q.reset != "" }) == false {
		if time.Now().After(deadline) {
			back.fail("the client has left, and no RST_STREAM arrives for its stream")
		}
		q.send("more", false, 10*time.Millisecond)
	}
	request := get("/next", closeField)
	c := converse(t, addr, request)
	next := back.request("another client has asked for /next")
	if next.streamPeer != q.streamPeer {
		back.fail("the next request comes on another connection: that of the cancelled stream was good")
	}
	next.respond("ok")
	answerTo(c, request, ruleCancel, look).wantAnswer(t, "200", "ok")
}

// What was on its way when a stream was cancelled still belongs to the connection: its
// frames, and what its fields do to the table, if the gateway wants one.
func TestHeadOfACancelledStreamIsReadOver(t *testing.T) {
	t.Parallel()
	const look = "http2frames.go, onHeaderBlock"
	addr, back := startStreams(t, ruleBlock, look)
	neighbour := converse(t, addr, get("/neighbour", closeField))
	other := back.request("a client has asked for /neighbour")
	gone := converse(t, addr, get("/gone"))
	q := back.request("a client has asked for /gone")
	q.head(false, ":status: 200")
	q.send("begin", false, patience())
	io.ReadAtLeast(gone, make([]byte, 1<<10), 1)
	gone.SetLinger(0)
	gone.Close()
	deadline := time.Now().Add(patience())
	for q.reaches(10*time.Millisecond, func() bool { return q.reset != "" }) == false && time.Now().Before(deadline) {
		q.send("more", false, 10*time.Millisecond)
	}

	trailers, response := "\x00\x05x-end\x03yes", "\x88\x0f\x0d\x012"
	if q.streamPeer == other.streamPeer && q.tableSize >= 100 {
		trailers, response = "\x40\x05x-end\x03yes", response+"\xbe" // the field that the other block has added
	}
	q.Write(headersInPieces(q.id, http2.FlagEndStream, trailers, 3)) // it was on its way
	other.Write(headersInPieces(other.id, 0, response, 1))
	other.send("ok", true, patience())

	answerTo(neighbour, get("/neighbour"), ruleBlock, look).wantAnswer(t, "200", "ok")
	other.await()
}
