package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/server"
)

// logOfAStop stops the program and returns what it logged.
func logOfAStop(t testing.TB, args ...string) []string {
	t.Helper()
	cmd, addr, logged := startServing(t, args...)
	sendAndRead(t, addr, "", "", get("/")+"HEAD /none?a=b HTTP/1.1\r\nHost: socket.up\r\nConnection: close\r\n\r\n").wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	text, err := io.ReadAll(logged)
	require.NoError(t, err)
	require.NoError(t, waitExit(t, cmd))
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestAccessLogHasALineForEachResponse(t *testing.T) {
	var got []string
	for _, line := range logOfAStop(t, "-access-log", "-log-format", "json") {
		var v map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &v), line)
		if v["msg"] == "response" {
			assert.Positive(t, v["bytes"])
			assert.GreaterOrEqual(t, v["ms"], 0.)
			assert.NotContains(t, v, "error")
			got = append(got, fmt.Sprint(v["method"], " ", v["target"], " ", v["status"], " ", v["client"]))
		}
	}

	assert.Equal(t, []string{"GET / 200 127.0.0.1", "HEAD /none?a=b 404 127.0.0.1"}, got)
}

// A request that is refused is logged with what it has in place of a method and a target,
// in printable ASCII; where there is nothing, with -.
func TestAccessLogShowsWhatWasRefused(t *testing.T) {
	cmd, addr, logged := startServing(t, "-access-log", "-log-format", "json", "-head", "4096")
	want := []string{}
	for _, c := range []struct{ sent, logged string }{
		{"GET / HTTP/1.1\r\n\r\n", "GET / 400"}, // no Host
		{"G@T /a HTTP/1.1\r\n\r\n", "G@T /a 400"},
		{"GET /a\x1b[2Jb HTTP/1.1\r\n\r\n", `GET /a\x1b[2Jb 400`},
		{"GET /\u009b2J HTTP/1.1\r\n\r\n", `GET /\u009b2J 400`},
		{"GET /b HTTP/2.0\r\n\r\n", "GET /b 505"},
		{"GARBAGE\r\n\r\n", "GARBAGE - 400"},
		{"\x16\x03\x01\x02\x00\x01", `\x16\x03\x01\x02\x00\x01 - 400`}, // TLS
		{" \r\n\r\n", "- - 400"},
		{"HEAD /" + strings.Repeat("a", 5000) + " HTTP/1.1\r\n", "HEAD /" + strings.Repeat("a", maxTarget-1) + " 414"},
		{strings.Repeat("M", 5000), strings.Repeat("M", maxMethod) + " - 501"},
	} {
		sendAndRead(t, addr, "", "", c.sent)
		want = append(want, c.logged)
	}
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	text, err := io.ReadAll(logged)
	require.NoError(t, err)
	require.NoError(t, waitExit(t, cmd))

	var got []string
	for line := range strings.Lines(string(text)) {
		var v map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &v), line)
		if v["msg"] == "response" {
			got = append(got, fmt.Sprint(v["method"], " ", v["target"], " ", v["status"]))
		}
	}
	assert.Equal(t, want, got)
}

func TestAccessLogIsOffByDefault(t *testing.T) {
	for _, line := range logOfAStop(t) {
		assert.NotContains(t, line, "msg=response")
	}
}

// A blockedWriter takes nothing until it is released.
type blockedWriter struct {
	release chan struct{}
	once    sync.Once
	began   chan struct{} // closed when a write waits
	logLines
}

func (b *blockedWriter) Write(p []byte) (int, error) {
	b.once.Do(func() { close(b.began) })
	<-b.release
	return b.logLines.Write(p)
}

// A log that takes nothing, such as a pipe that no program reads, costs lines and no
// response.
func TestSlowAccessLogLacksLinesAndCountsThem(t *testing.T) {
	skipIfJudging(t)
	const responses = 3 * accessQueue
	w := &blockedWriter{release: make(chan struct{}), began: make(chan struct{})}
	a := newAccessLog(newLogger(w, "text"))
	v := server.Served{Client: netip.MustParseAddr("192.0.2.1"), Method: []byte("GET"), Target: []byte("/" + strings.Repeat("a", 8<<10)), Status: 200, Bytes: 5, Duration: 1_234_567}

	a.record(v)
	receive(t, w.began, "the first line is being written")
	for range responses - 1 {
		a.record(v)
	}
	close(w.release)
	a.close()

	text := w.String()
	lines := strings.Count(text, "msg=response")
	assert.Equal(t, 1+accessQueue, lines)
	assert.Contains(t, text, "/"+strings.Repeat("a", maxTarget-1)+" status=200 bytes=5 ms=1.235 client=192.0.2.1\n")
	missing := 0
	for _, found := range regexp.MustCompile(`lacks lines.* lines=(\d+)`).FindAllStringSubmatch(text, -1) {
		var n int
		fmt.Sscan(found[1], &n)
		missing += n
	}
	assert.Equal(t, responses, lines+missing)
}

// A stop waits for a log that takes nothing, but not for long.
func TestBlockedAccessLogDoesNotHoldUpAStop(t *testing.T) {
	skipIfJudging(t)
	w := &blockedWriter{release: make(chan struct{}), began: make(chan struct{})}
	defer close(w.release)
	a := newAccessLog(newLogger(w, "text"))
	a.record(server.Served{})
	receive(t, w.began, "the line is being written")
	closed := make(chan struct{})
	began := time.Now()

	go func() { a.close(); close(closed) }()

	receive(t, closed, "close returns")
	assert.GreaterOrEqual(t, time.Since(began), accessLogTime)
}
