package main

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part3-pipelining/server"
)

// FuzzAllDriversRespondAlike sends the same bytes, cut at the same places, to a
// server of each driver, closes its side, and wants the same responses.
// Coverage differs from run to run with the goroutines' scheduling, so
// minimizing does not work: go test -fuzz Alike -fuzzminimizetime 1x
func FuzzAllDriversRespondAlike(f *testing.F) {
	skipIfJudging(f)
	for _, sent := range []string{
		get("/a") + get("/b") + get("/c", closeField),
		get("/flush") + post("/x", "hello") + "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + get("/d"),
		chunkedPost("5\r\nhello\r\n0\r\n\r\n") + get("/flush"),
		post("/unread", "hello") + get("/d"),
		"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /flush HTTP/1.0\r\n\r\n",
		get("/panic") + get("/a") + get("/flush") + get("/panic", closeField),
		"POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" + get("/e"),
		"\r\n" + get("/a") + "GET / HT", get("/a") + "\x01", "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n\x01",
	} {
		f.Add([]byte(sent), []byte{})
		f.Add([]byte(sent), []byte{1, 30, 17, 2})
	}
	var servers []*testServer
	for _, way := range waitModes() {
		limited := server.DefaultLimits
		limited.Driver = way
		servers = append(servers, startServerAt(f, "127.0.0.1:0", limited, withHandler(alikeHandler)))
	}

	f.Fuzz(func(t *testing.T, sent, cuts []byte) {
		if len(sent) > 16<<10 || len(cuts) > 20 {
			t.Skip()
		}
		first := conversation(t, servers[0].addr, sent, cuts)
		for i, r := range servers[1:] {
			got := conversation(t, r.addr, sent, cuts)
			require.Equal(t, first, got, "-wait %s and -wait %s, sent %q", waitModes()[0], waitModes()[i+1], sent)
		}
	})
}

// alikeHandler's response depends on the request alone. It never aborts in the
// middle of a response: whether the client sees FIN or a reset then depends on
// what the kernel has buffered.
func alikeHandler(w *server.Response, r *server.Request) {
	path := string(r.Path)
	if path != "/unread" {
		body, err := r.Body.ReadAll()
		w.WriteString(fmt.Sprintf("%s %s %q %v\n", r.Method, path, body, err))
	}
	switch path {
	case "/flush":
		w.Flush()
		w.WriteString("and more\n")
	case "/panic":
		panic("as asked")
	}
}

// conversation sends the pieces of sent and returns everything the server
// sends, without the date.
func conversation(t *testing.T, addr string, sent, cuts []byte) string {
	t.Helper()
	c := dial(t, addr)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience()))
	for _, n := range cuts {
		piece := sent[:min(int(n), len(sent))]
		sent = sent[len(piece):]
		c.Write(piece)
		time.Sleep(100 * time.Microsecond) // most likely read separately
	}
	c.Write(sent)
	c.CloseWrite()
	var got bytes.Buffer
	if _, err := io.Copy(&got, c); err != nil {
		got.WriteString("(the connection failed)") // reset, or not closed within the deadline
	}
	return dateLine.ReplaceAllString(got.String(), "")
}
