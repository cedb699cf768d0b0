package server

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// This file is the client of a model (model_test.go): what it sends, and how it checks the
// responses. It is also how the model's handlers read a body and stream.

// send makes the client send a request. Garbage ends the connection, so it is rare.
func (m *model) send() {
	if m.fin {
		return
	}
	path := fmt.Sprintf("/%d", len(m.paths))
	method := []string{"GET", "GET", "GET", "HEAD", "POST"}[m.r.IntN(5)]
	fields := ""
	if m.r.IntN(12) == 0 {
		fields = "Expect: 100-continue\r\n"
	}
	switch {
	case m.r.IntN(40) == 0:
		m.sent.WriteString("\x01")
		method, path = "GET", "garbage" // the error response has a body
		m.fin = true
	case method == "POST":
		fmt.Fprintf(&m.sent, "POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: 5\r\n\r\nhello", path, fields)
	default:
		fmt.Fprintf(&m.sent, "%s %s HTTP/1.1\r\nHost: x\r\n\r\n", method, path)
	}
	m.methods, m.paths = append(m.methods, method), append(m.paths, path)
	m.note("client sends %s %s", method, path)
}

// answers checks what the client received: a complete response to every request, in the
// order of the requests, or a connection that has ended.
func (m *model) answers() {
	s := transcript{got: string(m.got), rule: "the model"}
	rest, n := s.got, 0
	for ; rest != ""; n++ {
		rest = strings.TrimPrefix(rest, "HTTP/1.1 100 Continue\r\n\r\n")
		if n >= len(m.methods) {
			m.fail("there is something after the last response: %.200q", rest)
		}
		status, body, after, err := splitResponse(rest, m.methods[n])
		if err != nil {
			if m.c.err != nil {
				return // the connection failed in the middle of a response
			}
			m.fail("response %d, to %s %s: %v: %.200q", n, m.methods[n], m.paths[n], err, rest)
		}
		if status == 200 && m.methods[n] != "HEAD" && !strings.Contains(body, "I am "+m.paths[n]) {
			m.fail("response %d is %.60q, want that of %s", n, body, m.paths[n])
		}
		rest = after
	}
	if n < len(m.methods) && !m.inputEnded && m.c.closeState == open && m.c.inputState != inputClosed {
		m.fail("%d responses to %d requests, and the connection will not send the others: inputState %d, turn %d, writeState %d, closeState %d, input %q", n, len(m.methods), m.c.inputState, m.c.turn, m.c.output.writeState, m.c.closeState, m.c.input.bytes())
	}
}

// splitResponse splits text after its first response.
func splitResponse(text, method string) (status int, body, rest string, err error) {
	head, rest, whole := strings.Cut(text, "\r\n\r\n")
	if _, e := fmt.Sscanf(head, "HTTP/1.1 %d ", &status); e != nil || !whole {
		return 0, "", "", errors.New("no response begins there")
	}
	if method == "HEAD" {
		return status, "", rest, nil
	}
	if strings.Contains(head, "Transfer-Encoding: chunked") {
		for {
			var n int
			line, after, ok := strings.Cut(rest, "\r\n")
			if _, e := fmt.Sscanf(line, "%x", &n); e != nil || !ok || len(after) < n+2 || after[n:n+2] != "\r\n" {
				return 0, "", "", errors.New("no chunk begins there")
			}
			if body, rest = body+after[:n], after[n+2:]; n == 0 {
				return status, body, rest, nil
			}
		}
	}
	_, after, _ := strings.Cut(head, "Content-Length: ")
	n := 0
	fmt.Sscanf(after, "%d", &n)
	if n > len(rest) {
		return 0, "", "", fmt.Errorf("%d bytes of a body are missing", n-len(rest))
	}
	return status, rest[:n], rest[n:], nil
}

// body reads a body of length 5, or as much of it as has arrived.
func (m *model) body(x *exchange) {
	b := &x.body
	m.c.sendContinue(b)
	for !b.Decoder.AtEnd() && b.err == nil {
		_, used, refused := b.Decoder.Decode(m.c.input.bytes(), 5)
		m.c.input.skip(used)
		b.err = refused
		if used == 0 {
			before := len(m.c.input.bytes())
			if m.read(); len(m.c.input.bytes()) == before {
				break
			}
		}
	}
	x.closeAfter = x.closeAfter || !b.Decoder.AtEnd()
}

// streamPart makes the handler at the head of the queue send a part of its response.
func (m *model) streamPart() {
	for _, x := range m.running {
		if m.c.slots.head != &x.slot || x.expired || m.c.closeState != open || x.err != nil || len(x.req.Method) == 4 && string(x.req.Method) == "HEAD" {
			continue
		}
		w := &x.res
		w.Status = 200
		if x.encoded = x.encoded[:0]; !w.headFlushed {
			w.headFlushed, w.chunked = true, true
			x.encoded = w.appendHead(x.encoded)
		}
		w.body = append(w.body, "part "...)
		w.bytesWritten += 5
		x.encoded = w.appendBody(x.encoded)
		m.c.queueStreamed(x, x.encoded)
		m.note("handler of %s streams", x.req.Target)
		m.act(false)
		return
	}
}

func (m *model) advanceClock(d time.Duration) {
	m.c.srv.clock.nanos.Add(int64(d))
	m.c.checkDeadlines()
	m.act(false)
}
