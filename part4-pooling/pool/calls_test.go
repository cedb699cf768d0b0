package pool

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/internal/testutil"
)

func TestAmbiguousResponsesAreRejected(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ answer, says string }{
		"both framings":         {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "Content-Length and Transfer-Encoding"},
		"two lengths":           {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", "Content-Length is not one number"},
		"a list of lengths":     {"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", "Content-Length is not one number"},
		"a length of 2^63":      {"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nhello", "does not fit"},
		"a HEAD's length":       {"HTTP/1.1 304 Not Modified\r\nContent-Length: 99999999999999999999\r\n\r\n", "does not fit"},
		"a bad extension":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;\r\nhello\r\n0\r\n\r\n", "a chunk is not"},
		"an open quote":         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"\r\nhello\r\n0\r\n\r\n", "a chunk is not"},
		"three empty lines":     {"\r\n\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "bad response"},
		"a signed length":       {"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", "Content-Length is not one number"},
		"another coding":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "not chunked, once"},
		"chunked twice":         {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "not chunked, once"},
		"chunked in HTTP/1.0":   {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0 has no Transfer-Encoding"},
		"bare LF":               {"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "bare CR or LF"},
		"a folded line":         {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "name, colon, value"},
		"space before colon":    {"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n", "name, colon, value"},
		"a NUL in a value":      {"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n", "control character"},
		"no status":             {"HTTP/1.1 OK\r\nContent-Length: 5\r\n\r\n", "the status line is not"},
		"a status of 2 digits":  {"HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\n", "the status line is not"},
		"status 600":            {"HTTP/1.1 600 OK\r\nContent-Length: 5\r\n\r\n", "between 100 and 599"},
		"HTTP/2":                {"HTTP/2 200\r\n\r\n", "the status line is not"},
		"garbage":               {"SSH-2.0-OpenSSH_9.6\r\n", "begin with HTTP/1."},
		"101":                   {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "did not request"},
		"an endless head":       {"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", client.MaxHead+1-len("HTTP/1.1 200 OK\r\nA: ")), "too long"},
		"endless interims":      {strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100+1), "too many interim responses"},
		"a chunk with no size":  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n", "a chunk is not"},
		"a chunk that overruns": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n", "a chunk is not"},
		"a chunk of 2^64 bytes": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello", "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			s := testutil.ServeResponses(t, func(int, *http.Request) string { return c.answer })
			p := newSmallPool(t, 1)

			_, body, err := poolRoundTrip(p, s.Addr, getRequest("/"))

			require.ErrorIs(t, err, http1.ErrBadResponse, "MUST, RFC 9112 §6.3 and §2.2; it was accepted, with the body %q. http1/response.go, Parse", body)
			assert.ErrorContains(t, err, c.says)
			assert.Zero(t, p.Stats().Permits, "the connection is closed")
		})
	}
}

func TestTruncatedBodiesAreErrors(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"Content-Length":      "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
		"chunked":             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"chunked, in a chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
	} {
		s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
			c.Read(make([]byte, 1000))
			io.WriteString(c, answer)
		})

		_, body, err := poolRoundTrip(newSmallPool(t, 1), s.Addr, getRequest("/"))

		assert.ErrorIs(t, err, client.ErrTruncated, name)
		assert.Equal(t, "hello", body, name)
	}
}

func TestEveryWaitHasATimeout(t *testing.T) {
	t.Parallel()
	silent := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	half := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
		io.Copy(io.Discard, c)
	})
	deaf := testutil.ServeScript(t, func(*net.TCPConn, int) { <-t.Context().Done() })
	const short = 50 * time.Millisecond
	slow := func() *client.Request { return longUpload(false) }
	for name, c := range map[string]struct {
		addr string
		t    client.Timeouts
		want error
		call func() *client.Request
	}{
		"for a head":         {silent.Addr, client.Timeouts{Connect: testutil.MaxWait, Head: short, Idle: testutil.MaxWait, Total: testutil.MaxWait}, client.ErrHeadTimeout, nil},
		"for a body":         {half.Addr, client.Timeouts{Connect: testutil.MaxWait, Head: testutil.MaxWait, Idle: short, Total: testutil.MaxWait}, client.ErrBodyTimeout, nil},
		"for all, in a head": {silent.Addr, client.Timeouts{Connect: testutil.MaxWait, Head: testutil.MaxWait, Idle: testutil.MaxWait, Total: short}, client.ErrTotalTimeout, nil},
		"for all, in a body": {half.Addr, client.Timeouts{Connect: testutil.MaxWait, Head: testutil.MaxWait, Idle: testutil.MaxWait, Total: short}, client.ErrTotalTimeout, nil},
		"for a connection":   {"", client.Timeouts{Connect: short, Head: testutil.MaxWait, Idle: testutil.MaxWait, Total: testutil.MaxWait}, client.ErrConnectTimeout, nil},
		"for a body to go":   {deaf.Addr, client.Timeouts{Connect: testutil.MaxWait, Head: short, Idle: short, Total: testutil.MaxWait}, client.ErrHeadTimeout, slow},
		"for all, to go":     {deaf.Addr, client.Timeouts{Connect: testutil.MaxWait, Head: testutil.MaxWait, Idle: testutil.MaxWait, Total: short}, client.ErrTotalTimeout, slow},
	} {
		t.Run(name, func(t *testing.T) {
			if c.addr == "" {
				c.addr = testutil.UnresponsiveAddr(t)
			}
			p, asking := newSmallPool(t, 1), getRequest("/")
			if c.call != nil {
				asking = c.call()
			}
			began := time.Now()
			r, err := p.RoundTrip(t.Context(), c.addr, asking, &c.t)
			if err == nil {
				_, err = readAll(r)
			}

			assert.ErrorIs(t, err, c.want)
			assert.GreaterOrEqual(t, time.Since(began), short)
			assert.Zero(t, p.Stats().Permits, "an abandoned exchange closes its connection")
		})
	}
}

// A deadline left over from an earlier request must not end a later one.
func TestDeadlineAppliesToOneRequestOnly(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
		if r.URL.Path == "/slow" {
			<-release
		}
		return testutil.Response200("x")
	})
	p := newSmallPool(t, 1)
	hurried := client.Timeouts{Connect: testutil.MaxWait, Head: 100 * time.Millisecond, Idle: testutil.MaxWait, Total: testutil.MaxWait}
	r, err := p.RoundTrip(t.Context(), s.Addr, getRequest("/"), &hurried)
	require.NoError(t, err)
	readAll(r)

	time.AfterFunc(300*time.Millisecond, func() { close(release) })
	_, body, err := poolRoundTrip(p, s.Addr, getRequest("/slow"))

	require.NoError(t, err)
	assert.Equal(t, "x", body)
	assert.Equal(t, 1, s.Accepted())
}

// A server may respond while the client is still sending.
func TestResponseIsReadWhenTheRequestCouldNotBeSent(t *testing.T) {
	t.Parallel()
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) {
		c.Read(make([]byte, 1000))
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno\n")
		c.CloseWrite()
		io.CopyN(io.Discard, c, 1<<20)
	})
	p := newSmallPool(t, 1)

	status, body, err := poolRoundTrip(p, s.Addr, postRequest("/", strings.Repeat("x", 32<<20)))

	require.NoError(t, err, "house rule: when a write fails, read the response that has arrived. exchange.go, onReady")
	assert.Equal(t, 413, status)
	assert.Equal(t, "no\n", body)
	assert.Zero(t, p.Stats().Permits)
}

func TestLongBodiesFlowBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	echo := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { // responds while it reads, with no buffer in between
		http.Serve(&oneConn{c: c, done: t.Context().Done()}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).EnableFullDuplex()
			io.Copy(w, r.Body)
		}))
	})
	for _, length := range []int64{64 << 20, http1.Chunked} {
		p := newSmallPool(t, 1)
		c := postRequest("/", "")
		c.Stream, c.Length = io.LimitReader(testutil.Zeros{}, 64<<20), length

		r, err := p.RoundTrip(t.Context(), echo.Addr, c, &testTimeouts)
		require.NoError(t, err)
		n, err := io.Copy(io.Discard, struct{ io.Reader }{r})
		r.Close()

		require.NoError(t, err)
		assert.EqualValues(t, 64<<20, n)
		assert.Equal(t, 1, p.Stats().Backend(echo.Addr).Idle, "the connection is reusable")
	}
}

// A oneConn is a listener that accepts one connection.
type oneConn struct {
	c    net.Conn
	done <-chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.c; c != nil {
		l.c = nil
		return c, nil
	}
	<-l.done
	return nil, io.EOF
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

func TestBodyReadErrorEndsTheRequest(t *testing.T) {
	t.Parallel()
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	c := postRequest("/", "")
	c.Stream, c.Length = io.MultiReader(strings.NewReader("some"), testutil.FailingReader{}), 100
	p := newSmallPool(t, 1)

	_, _, err := poolRoundTrip(p, s.Addr, c)

	assert.ErrorIs(t, err, client.ErrUpload)
	assert.ErrorIs(t, err, os.ErrProcessDone)
	assert.Zero(t, p.Stats().Permits)
}

// Whenever the cancel happens, the connection is closed or returned, never both:
// put panics on a second return, and the permits add up.
func TestCancelAtRandomTimesClosesOrReturnsTheConnection(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
		if r.URL.Path == "/slow" {
			time.Sleep(30 * time.Millisecond) // a slow handler: the subject of the test, not a wait for something
		}
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
	})
	p := newSmallPool(t, 4)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 60 {
				ctx, cancel := context.WithCancel(t.Context())
				target := "/"
				if j%4 == 0 {
					target = "/slow"
				}
				time.AfterFunc(time.Duration((i*60+j)%45)*time.Millisecond, cancel)
				r, err := p.RoundTrip(ctx, s.Addr, getRequest(target), &testTimeouts)
				if err == nil {
					var body string
					body, err = readAll(r)
					if err == nil && body != "hello" {
						t.Errorf("got %q", body)
					}
				}
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	testutil.WaitGroup(t, &group, "all goroutines of the test end")

	b := p.Stats().Backend(s.Addr)
	assert.Zero(t, b.Leased, "every connection was returned or closed")
	assert.LessOrEqual(t, b.Idle, 4)
}

func TestClosingAResponseTwiceReleasesOnce(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(int, *http.Request) string { return testutil.Response200("hello") })
	p := newSmallPool(t, 1)
	r, err := p.RoundTrip(t.Context(), s.Addr, getRequest("/"), &testTimeouts)
	require.NoError(t, err)

	r.Close()
	r.Close()

	_, err = r.Next()
	assert.ErrorContains(t, err, "closed")
	assert.Equal(t, 1, p.Stats().Backend(s.Addr).Idle)
}
