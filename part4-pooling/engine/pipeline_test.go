package engine

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/socket"
)

// startPipeline opens a pipeline to addr; it is closed when the test ends.
func startPipeline(t testing.TB, addr string) *Pipeline {
	t.Helper()
	p := NewPipeline(dialConn(t, addr), testTimeouts)
	t.Cleanup(p.Close)
	return p
}

func TestFuturesGetResponsesInOrder(t *testing.T) {
	t.Parallel()
	s := testutil.ServeResponses(t, func(_ int, r *http.Request) string {
		if r.Method == "HEAD" {
			return "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
		}
		return testutil.Response200(r.URL.Path)
	})
	p := startPipeline(t, s.Addr)
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			for j := range 50 {
				want := fmt.Sprintf("/%d/%d/%s", i, j, strings.Repeat("x", j*i))
				c := getRequest(want)
				if j%7 == 0 {
					c.Method, want = []byte("HEAD"), ""
				}
				f, err := p.send(testutil.TestContext(t), c)
				if err != nil {
					t.Error(err)
					return
				}
				a, err := f.wait(testutil.TestContext(t))
				if err != nil || string(a.body) != want {
					t.Errorf("asked for %q, got %v, %v", want, a, err)
				}
				f.free() // its memory is reused
			}
		})
	}
	testutil.WaitGroup(t, &group, "all goroutines of the test end")
	assert.Equal(t, 1, s.Accepted())
}

// When the connection ends, every future must fail with the reason.
func TestFuturesFailWithTheReasonWhenTheConnectionEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers string
		want    error
		says    string
	}{
		"closed":              {testutil.Response200("1"), client.ErrEnded, "EOF"},
		"closed in a body":    {testutil.Response200("1") + "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", client.ErrTruncated, "EOF"},
		"garbage":             {testutil.Response200("1") + "garbage\r\n\r\n", http1.ErrBadResponse, "HTTP/1."},
		"close in a response": {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1", ErrServerClosing, "Connection: close"},
		"a body until close":  {"HTTP/1.1 200 OK\r\n\r\n1", ErrServerClosing, "Connection: close"},
	} {
		t.Run(name, func(t *testing.T) {
			all := make(chan struct{})
			s := testutil.ServeScript(t, func(conn *net.TCPConn, _ int) {
				<-all
				conn.Read(make([]byte, 4<<10))
				io.WriteString(conn, c.answers)
			})
			p := startPipeline(t, s.Addr)
			var futures []*future
			for range 4 {
				f, err := p.send(testutil.TestContext(t), getRequest("/"))
				require.NoError(t, err)
				futures = append(futures, f)
			}
			close(all)

			first, err := futures[0].wait(testutil.TestContext(t))
			require.NoError(t, err)
			assert.Equal(t, "1", string(first.body))
			for _, f := range futures[1:] {
				_, err := f.wait(testutil.TestContext(t))
				assert.ErrorIs(t, err, c.want, "MUST, RFC 9112 §9.5: requests without a response have failed. pipeline.go, run")
				assert.ErrorContains(t, err, c.says)
			}
			_, err = p.send(testutil.TestContext(t), getRequest("/"))
			assert.ErrorIs(t, err, c.want, "no more requests are sent")
		})
	}
}

func TestPipelineRejectsUnsolicitedResponses(t *testing.T) {
	t.Parallel()
	late := make(chan bool)
	s := testutil.ServeScript(t, func(c *net.TCPConn, number int) {
		c.Read(make([]byte, 4<<10))
		if number == 1 {
			io.WriteString(c, testutil.Response200("1")+testutil.Response200("INJECTED"))
		} else {
			io.WriteString(c, testutil.Response200("1"))
			<-late
			io.WriteString(c, testutil.Response200("INJECTED"))
			late <- true
		}
		c.Read(make([]byte, 4<<10))
	})
	for range 2 {
		p := startPipeline(t, s.Addr)
		f, err := p.send(testutil.TestContext(t), getRequest("/"))
		require.NoError(t, err)
		a, err := f.wait(testutil.TestContext(t))
		require.NoError(t, err)
		require.Equal(t, "1", string(a.body))
		if s.Accepted() == 2 {
			testutil.Send(t, late, true, "the server has answered")
			testutil.Receive(t, late, "the server has sent an unsolicited response")
		}

		f, err = p.send(testutil.TestContext(t), getRequest("/"))
		if err == nil {
			_, err = f.wait(testutil.TestContext(t))
		}

		assert.ErrorIs(t, err, client.ErrUnsolicited)
	}
}

func TestOnlyIdempotentRequestsArePipelined(t *testing.T) {
	t.Parallel()
	p := startPipeline(t, testutil.ServePolite(t).Addr)

	_, err := p.send(testutil.TestContext(t), postRequest("/", "x"))

	assert.ErrorIs(t, err, ErrNotIdempotent, "SHOULD NOT, RFC 9112 §9.3.2")
	c := getRequest("/")
	c.Body = []byte("x")
	_, err = p.send(t.Context(), c)
	assert.ErrorIs(t, err, errUnexpectedBody, "the server may parse it as the next request. request.go, HasUnexpectedBody")
}

func TestPipelineDepthIsBounded(t *testing.T) {
	t.Parallel()
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	p := startPipeline(t, s.Addr)
	for range maxInFlight {
		_, err := p.send(testutil.TestContext(t), getRequest("/"))
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), socket.PollInterval)
	defer cancel()

	_, err := p.send(ctx, getRequest("/"))

	assert.ErrorIs(t, err, context.DeadlineExceeded)
	long := startPipeline(t, testutil.ServeResponses(t, func(int, *http.Request) string { return testutil.Response200(strings.Repeat("x", 2*maxBufferedBody)) }).Addr)
	f, err := long.send(testutil.TestContext(t), getRequest("/"))
	require.NoError(t, err)
	_, err = f.wait(testutil.TestContext(t))
	assert.ErrorIs(t, err, errBodyTooLong)
}

func TestClosingAPipelineFailsItsFutures(t *testing.T) {
	t.Parallel()
	s := testutil.ServeScript(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	p := startPipeline(t, s.Addr)
	f, err := p.send(testutil.TestContext(t), getRequest("/"))
	require.NoError(t, err)
	time.AfterFunc(socket.PollInterval, p.Close)

	_, err = f.wait(testutil.TestContext(t))

	assert.ErrorIs(t, err, ErrClosed)
}
