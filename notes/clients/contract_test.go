package clients

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClientPrintsALineForEachRequest(t *testing.T) {
	t.Parallel()
	s := serve(t, answering(func(_ int64, r *http.Request) (string, bool) {
		if r.URL.Path == "/none" {
			return "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", false
		}
		return hello, false
	}))

	r := runClient(t, "house rule: a line for each request, with its method, its URL, the status and the length of the body", 1, "GET "+s.url+"/", "GET "+s.url+"/none?a=b")

	r.want(t, 0, "200 5")
	r.want(t, 1, "404 4")
}

func TestRefusedConnectionIsAnError(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	s := serve(t, answering(func(int64, *http.Request) (string, bool) { return hello, false }))

	r := runClient(t, "house rule: what fails is a line with error, and costs one request", 1, "GET http://"+l.Addr().String()+"/", "GET "+s.url+"/")

	r.want(t, 0, "error")
	r.want(t, 1, "200 5")
}

// A full accept queue ignores SYNs: a client without a timeout waits for minutes.
func TestConnectTimesOut(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("a backlog of 0 means the maximum here: run this in a Linux container")
	}
	addr := fullQueue(t)

	r := runClient(t, fmt.Sprintf("house rule: a connect has a timeout, of less than %v", limit), 1, "GET http://"+addr+"/")

	r.want(t, 0, "error")
}

// fullQueue returns the address of a listener whose accept queue is full.
func fullQueue(t *testing.T) (addr string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	t.Cleanup(func() { syscall.Close(fd) })
	syscall.CloseOnExec(fd)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	addr = fmt.Sprint("127.0.0.1:", name.(*syscall.SockaddrInet4).Port)
	c, err := net.DialTimeout("tcp", addr, limit)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return addr
}

// One server that does not answer must not make requests for others wait.
func TestSlowServerDelaysNoOtherCaller(t *testing.T) {
	t.Parallel()
	fast := make(chan bool, 1)
	s := serve(t, answering(func(_ int64, r *http.Request) (string, bool) {
		if r.URL.Path == "/fast" {
			fast <- true
			return hello, false
		}
		select {
		case <-fast:
			return hello, false
		case <-time.After(limit / 4):
			return "HTTP/1.1 500 Alone\r\nContent-Length: 0\r\n\r\n", false
		}
	}))

	r := runClient(t, "house rule: CALLERS requests are in flight at a time", 2, "GET "+s.url+"/slow", "GET "+s.url+"/fast")

	r.want(t, 0, "200 5")
	r.want(t, 1, "200 5")
}

func TestEveryFramingIsRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bytes, want string
		last        bool
	}{
		"a length":                 {hello, "200 5", false},
		"chunked":                  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n0002\r\nlo\r\n0\r\nX-Trailer: 1\r\n\r\n", "200 5", false},
		"ends with the connection": {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", "200 5", true},
		"HTTP/1.0":                 {"HTTP/1.0 200 OK\r\n\r\nhello", "200 5", true},
		"204":                      {"HTTP/1.1 204 No Content\r\n\r\n", "204 0", false},
		"100 before":               {"HTTP/1.1 100 Continue\r\n\r\n" + hello, "200 5", false},
		"two before":               {strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 2) + hello, "200 5", false},
		"103 before":               {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + hello, "200 5", false},
		"lower case":               {strings.ToLower(strings.Replace(hello, "HTTP/1.1 200 OK\r\n", "", 1)), "200 5", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "lower case" {
				c.bytes = "HTTP/1.1 200 OK\r\n" + c.bytes
			}
			s := serve(t, answering(func(int64, *http.Request) (string, bool) { return c.bytes, c.last }))

			rule := "MUST, RFC 9112 §6.3: a body ends by its length, its last chunk, or the end of the connection"
			if strings.HasSuffix(name, " before") {
				rule = "MUST, RFC 9110 §15.2: a client reads over interim responses to the final one"
			}

			r := runClient(t, rule, 1, "GET "+s.url+"/1", "GET "+s.url+"/2")

			r.want(t, 0, c.want)
			r.want(t, 1, c.want)
		})
	}
}

func TestTruncatedResponseIsAnError(t *testing.T) {
	t.Parallel()
	for name, bytes := range map[string]string{
		"a length": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
		"chunked":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"a head":   "HTTP/1.1 200 OK\r\nContent-",
		"garbage":  "SSH-2.0-OpenSSH\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answering(func(int64, *http.Request) (string, bool) { return bytes, true }))

			r := runClient(t, "MUST, RFC 9112 §8: a client records an incomplete response as incomplete", 1, "GET "+s.url+"/")

			r.want(t, 0, "error")
		})
	}
}

// many returns n requests that differ.
func many(n int, method, url string) (requests []string) {
	for i := range n {
		requests = append(requests, fmt.Sprintf("%s %s/%d", method, url, i))
	}
	return requests
}

func TestConnectionIsReused(t *testing.T) {
	t.Parallel()
	s := serve(t, answering(func(int64, *http.Request) (string, bool) { return hello, false }))

	r := runClient(t, "house rule: a connection carries request after request", 1, many(10, "GET", s.url)...)

	for i := range r.requests {
		r.want(t, i, "200 5")
	}
	if n := s.accepted.Load(); n != 1 {
		r.fail(t, "10 requests, one after the other, took %d connections", n)
	}
}

func TestPoolIsBounded(t *testing.T) {
	t.Parallel()
	const callers = 4
	var now, most atomic.Int64
	s := serve(t, answering(func(int64, *http.Request) (string, bool) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		time.Sleep(20 * time.Millisecond) // the input: requests overlap
		now.Add(-1)
		return hello, false
	}))

	r := runClient(t, "house rule: as many connections as callers, and no more", callers, many(40, "GET", s.url)...)

	for i := range r.requests {
		r.want(t, i, "200 5")
	}
	if n := s.accepted.Load(); n > callers {
		r.fail(t, "%d callers opened %d connections for 40 requests", callers, n)
	}
	if most.Load() < 2 {
		r.fail(t, "the requests of %d callers were sent one after the other", callers)
	}
}

// thenDying answers the first request of a connection, and closes when it has read
// the second: a server whose idle timer fires at that moment.
func thenDying(count *atomic.Int64) func(*net.TCPConn, int64) {
	return func(c *net.TCPConn, number int64) {
		n := 0
		answering(func(_ int64, r *http.Request) (string, bool) {
			if r.Method == "POST" {
				count.Add(1)
			}
			if n++; n == 2 {
				return "", true
			}
			return hello, false
		})(c, number)
	}
}

func TestGETIsSentAgainOnANewConnection(t *testing.T) {
	t.Parallel()
	var posts atomic.Int64
	s := serve(t, thenDying(&posts))

	r := runClient(t, "house rule, RFC 9112 §9.3.1: a GET whose kept connection ends is sent once more, on a new one", 1, many(4, "GET", s.url)...)

	for i := range r.requests {
		r.want(t, i, "200 5")
	}
}

func TestPOSTIsNotSentAgain(t *testing.T) {
	t.Parallel()
	var posts atomic.Int64
	s := serve(t, thenDying(&posts))

	r := runClient(t, "SHOULD NOT, RFC 9110 §9.2.2: a client does not repeat a request that is not idempotent by itself", 1, "GET "+s.url+"/", "POST "+s.url+"/pay")

	if n := posts.Load(); n != 1 {
		r.fail(t, "the server has read the POST %d times", n)
	}
	if s.accepted.Load() == 1 { // on a kept connection, which died
		r.want(t, 1, "error")
	}
}

// A server that always closes must not be asked for ever.
func TestRetriesEnd(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	s := serve(t, answering(func(int64, *http.Request) (string, bool) { asked.Add(1); return "", true }))

	r := runClient(t, "house rule: a request is sent twice at most", 1, "GET "+s.url+"/")

	r.want(t, 0, "error")
	if n := asked.Load(); n > 2 {
		r.fail(t, "the server has read the GET %d times", n)
	}
}

// A request has what any server needs: lines that end in CRLF, the target, one Host.
func TestRequestIsWhole(t *testing.T) {
	t.Parallel()
	wrong := make(chan string, 10)
	var url string
	s := serve(t, func(c *net.TCPConn, _ int64) {
		var raw bytes.Buffer
		for in := bufio.NewReader(io.TeeReader(c, &raw)); ; raw.Reset() {
			r, err := http.ReadRequest(in)
			if err != nil {
				if raw.Len() > 0 {
					wrong <- fmt.Sprintf("%v, in %q", err, raw.String())
				}
				return
			}
			body, err := io.ReadAll(r.Body)
			head, _, _ := strings.Cut(raw.String(), "\r\n\r\n")
			line, fields, _ := strings.Cut(head, "\r\n")
			hosts := regexp.MustCompile(`(?im)^host:`).FindAllString(fields, -1)
			switch {
			case strings.Count(head, "\r\n") != strings.Count(head, "\n"):
				wrong <- fmt.Sprintf("a line of the head ends without CRLF: %q", head)
			case line != r.Method+" /none?a=b HTTP/1.1":
				wrong <- fmt.Sprintf("the request line is %q", line)
			case len(hosts) != 1 || "http://"+r.Host != url:
				wrong <- fmt.Sprintf("Host is not %s, once: %q", url[len("http://"):], head)
			case r.Method == "POST" && (err != nil || len(body) == 0):
				wrong <- fmt.Sprintf("the POST has no body of a few bytes: %q", raw.String())
			}
			io.WriteString(c, hello)
		}
	})
	url = s.url

	r := runClient(t, "MUST, RFC 9112 §2.2, §3, §3.2, §6: a request has lines that end in CRLF, its target, one Host, and the framing of its body", 1,
		"GET "+s.url+"/none?a=b", "POST "+s.url+"/none?a=b")

	select {
	case what := <-wrong:
		r.fail(t, "%s", what)
	default:
	}
	r.want(t, 0, "200 5")
	r.want(t, 1, "200 5")
}

// These responses have no body, whatever their fields say.
func TestResponseWithoutABodyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ method, bytes, want string }{
		"HEAD, a length": {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "200 0"},
		"HEAD, chunked":  {"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 0"},
		"304, a length":  {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answering(func(_ int64, r *http.Request) (string, bool) {
				if r.URL.Path == "/1" {
					return c.bytes, false
				}
				return hello, false
			}))

			r := runClient(t, "MUST, RFC 9112 §6.3: a response to HEAD has no body, nor has 204 or 304, whatever the fields say", 1, c.method+" "+s.url+"/1", "GET "+s.url+"/2")

			r.want(t, 0, c.want)
			r.want(t, 1, "200 5")
		})
	}
}

func TestEveryWaitEnds(t *testing.T) {
	t.Parallel()
	silent := serve(t, func(c *net.TCPConn, _ int64) {
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			if r.URL.Path == "/half" {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
			}
			io.Copy(io.Discard, c) // until the client closes
		}
	})
	s := serve(t, answering(func(int64, *http.Request) (string, bool) { return hello, false }))

	r := runClient(t, fmt.Sprintf("house rule: every wait ends, for a response and for more of it, in less than %v for both", limit), 2,
		"GET "+silent.url+"/none", "GET "+silent.url+"/half", "GET "+s.url+"/")

	r.want(t, 0, "error")
	r.want(t, 1, "error")
	r.want(t, 2, "200 5")
}

func TestConnectionIsNotUsedAfterItsLastResponse(t *testing.T) {
	t.Parallel()
	for name, bytes := range map[string]string{
		"close":           "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
		"close in a list": "HTTP/1.1 200 OK\r\nConnection: X-A, Close\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.0":        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var most atomic.Int64 // requests on one connection
			s := serve(t, func(c *net.TCPConn, number int64) {
				var asked int64
				answering(func(int64, *http.Request) (string, bool) {
					asked++
					most.Store(max(asked, most.Load()))
					return bytes, false
				})(c, number)
			})

			r := runClient(t, "MUST NOT, RFC 9112 §9.3, §9.6: no request is sent on a connection whose last response said close, or was HTTP/1.0 without keep-alive", 1, many(3, "GET", s.url)...)

			if n := most.Load(); n > 1 {
				r.fail(t, "the server has read %d requests on a connection that was over after the first response", n)
			}
			for i := range r.requests {
				r.want(t, i, "200 5")
			}
		})
	}
}

// A kept connection may have ended, or have bytes that no request asked for, before it is
// used again. The client can see both; a request that it sends anyway is lost, or gets a
// response that is not its own.
func TestSpoiltConnectionIsNotUsed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ method, extra string }{
		"FIN":               {"POST", ""},
		"408 and FIN":       {"GET", "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
		"a second response": {"GET", "HTTP/1.1 203 Poison\r\nContent-Length: 6\r\n\r\npoison"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spoilt := make(chan bool)
			var once sync.Once
			s := serve(t, func(conn *net.TCPConn, number int64) {
				in := bufio.NewReader(conn)
				for n := 0; ; n++ {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					io.Copy(io.Discard, r.Body)
					if number > 1 || n > 0 {
						io.WriteString(conn, hello)
						continue
					}
					io.WriteString(conn, hello+c.extra)
					if name != "a second response" {
						conn.CloseWrite()
					}
					once.Do(func() { close(spoilt) })
				}
			})
			other := serve(t, answering(func(int64, *http.Request) (string, bool) {
				<-spoilt
				time.Sleep(200 * time.Millisecond) // the input: a client that reads in the background has had the time
				return hello, false
			}))

			r := runClient(t, "house rule, RFC 9112 §9.2, §9.5: a kept connection is checked before it is used again, for its end and for bytes that no request has asked for", 1,
				"GET "+s.url+"/1", "GET "+other.url+"/", c.method+" "+s.url+"/2")

			r.want(t, 0, "200 5")
			r.want(t, 1, "200 5")
			r.want(t, 2, "200 5")
			if n := s.accepted.Load(); n != 2 {
				r.fail(t, "the last request was sent on the connection that the server had spoilt")
			}
		})
	}
}
