package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/server"
)

// FuzzConnection sends arbitrary bytes in two writes. The server must send
// well-formed HTTP or nothing, and close.
func FuzzConnection(f *testing.F) {
	for _, seed := range []string{get("/"), post("/echo", "hello"), chunkedPost("5\r\nhello\r\n0\r\n\r\n"), get("/stream/2") + get("/"), "GET / HTTP/1.0\r\n\r\n", "\x16\x03"} {
		f.Add([]byte(seed), 3)
	}
	s := startServer(f, func(s *server.Server) { s.Limits.LingerTime = testTimeout })
	f.Fuzz(func(t *testing.T, sent []byte, cut int) {
		if bytes.Contains(sent, []byte("sleep")) {
			return // such a request would wait
		}
		c := dial(t, s.addr)
		cut = max(0, min(cut, len(sent)))
		c.Write(sent[:cut])
		c.Write(sent[cut:])
		c.CloseWrite()
		x := transcript{sent: string(sent), rule: "MUST, RFC 9112 §2.1: a response is well-formed", look: "response.go"}.readAll(c)
		if x.got != "" {
			x.parse(t)
		}
	})
}

// soakTime is how long the tests run that can run for any time: SOAK=2m go test
// -run 'Garbage|Load'
func soakTime(t testing.TB) time.Duration {
	t.Helper()
	text := os.Getenv("SOAK")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err, "$SOAK")
	return d
}

// Random bytes and random closes leak no descriptor, no goroutine and no
// connection.
func TestGarbageInputLeaksNothing(t *testing.T) {
	r := startServer(t, func(s *server.Server) {
		s.Limits.HeadTime, s.Limits.BodyTime, s.Limits.LingerTime, s.Limits.IdleTime = testTimeout, testTimeout, testTimeout, testTimeout
	})
	sendAndRead(t, r.addr, "", "", get("/", closeField))
	goroutines, open, heap := runtime.NumGoroutine(), descriptors(), heapInUse()
	begin, sent := time.Now(), 0
	random := rand.New(rand.NewPCG(1, 2))
	parts := []string{get("/"), get("/stream/3"), post("/echo", "hello"), chunkedPost("5\r\nhello\r\n"), "\r\n\r\n", "GET ", "\x00\xff", get("/sleep/200ms"), "HTTP/1.1\r\n", ": ", closeField}
	for ; sent < 400 || time.Since(begin) < soakTime(t); sent++ {
		c, err := net.DialTimeout("tcp", r.addr, patience())
		require.NoError(t, err)
		c.SetDeadline(time.Now().Add(patience()))
		for range random.IntN(5) {
			io.WriteString(c, parts[random.IntN(len(parts))])
		}
		junk := make([]byte, random.IntN(100))
		for j := range junk {
			junk[j] = byte(random.IntN(256))
		}
		c.Write(junk)
		if sent%3 == 0 {
			c.(*net.TCPConn).SetLinger(0) // close with a reset
		}
		c.Close()
	}

	s := sendAndRead(t, r.addr, "house rule: one client's garbage does not affect another client", "conn.go", get("/", closeField))

	s.wantPrefix(t, "HTTP/1.1 200 ")
	eventually(t, "no connection is open", func() bool { return r.Connections() == 0 })
	eventually(t, "as many descriptors are open as before", func() bool { return descriptors() <= open })
	eventually(t, "as many goroutines run as before", func() bool { return runtime.NumGoroutine() <= goroutines+1 }) // eventually runs one
	t.Logf("%d connections of garbage in %v; before and after: %d and %d descriptors, %d and %d goroutines, %d and %d KiB of live heap",
		sent, time.Since(begin).Round(time.Second), open, descriptors(), goroutines, runtime.NumGoroutine(), heap>>10, heapInUse()>>10)
}

// descriptors returns the number of open file descriptors of this process.
func descriptors() (open int) {
	for fd := range 4096 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			open++
		}
	}
	return open
}

// A reset at any moment harms no other client.
func TestResetsAtAnyMomentLeakNothing(t *testing.T) {
	r := startServer(t)
	for name, sent := range map[string]string{
		"of a response":  get("/stream/1000000"),
		"of a pipeline":  strings.Repeat(get("/sleep/20ms"), 20),
		"of a body":      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhello",
		"of a chunk":     chunkedPost("5\r\nhe"),
		"of a head":      "GET / HT",
		"of everything":  get("/stream/1000000") + post("/echo", "hello") + get("/sleep/1s") + "GET",
		"of an expected": "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 10 {
				c := converse(t, r.addr, sent)
				if i%2 == 0 {
					c.SetReadDeadline(time.Now().Add(time.Millisecond)) // long enough for some servers to begin a response
					c.Read(make([]byte, 10))
				}
				c.SetLinger(0)
				c.Close()
			}

			s := sendAndRead(t, r.addr, "house rule: one client's reset does not affect another client", "conn.go, fail", get("/", closeField))
			s.wantPrefix(t, "HTTP/1.1 200 ")
		})
	}
	eventually(t, "no connection is open", func() bool { return r.Connections() == 0 })
	assert.NotContains(t, r.logs.String(), "panic")
}

// heapInUse returns the bytes of live heap after collection. It collects
// twice: a sync.Pool releases its contents in the second one.
func heapInUse() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
