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

// piped is a pipeline to addr; it is closed when the test ends.
func piped(t testing.TB, addr string) *pipeline {
	t.Helper()
	p := NewPipeline(linked(t, addr), quick)
	t.Cleanup(p.Close)
	return p
}

func TestFuturesGetTheAnswersInOrder(t *testing.T) {
	t.Parallel()
	s := testutil.Answering(t, func(_ int, r *http.Request) string {
		if r.Method == "HEAD" {
			return "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
		}
		return testutil.Saying(r.URL.Path)
	})
	p := piped(t, s.Addr)
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			for j := range 50 {
				want := fmt.Sprintf("/%d/%d/%s", i, j, strings.Repeat("x", j*i))
				c := getting(want)
				if j%7 == 0 {
					c.Method, want = []byte("HEAD"), ""
				}
				f, err := p.send(testutil.InTime(t), c)
				if err != nil {
					t.Error(err)
					return
				}
				a, err := f.wait(testutil.InTime(t))
				if err != nil || string(a.body) != want {
					t.Errorf("asked for %q, got %v, %v", want, a, err)
				}
				f.free() // others get its memory
			}
		})
	}
	testutil.Finish(t, &group, "all goroutines of the test end")
	assert.Equal(t, 1, s.Accepted())
}

// All who wait must hear of the end, and why.
func TestFuturesFailWithTheReasonWhenTheConnectionEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers string
		want    error
		says    string
	}{
		"closed":              {testutil.Saying("1"), client.ErrEnded, "EOF"},
		"closed in a body":    {testutil.Saying("1") + "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", client.ErrTruncated, "EOF"},
		"garbage":             {testutil.Saying("1") + "garbage\r\n\r\n", http1.ErrBadAnswer, "HTTP/1."},
		"close in an answer":  {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1", ErrLastAnswer, "Connection: close"},
		"a body until it end": {"HTTP/1.1 200 OK\r\n\r\n1", ErrLastAnswer, "Connection: close"},
	} {
		t.Run(name, func(t *testing.T) {
			all := make(chan struct{})
			s := testutil.Serve(t, func(conn *net.TCPConn, _ int) {
				<-all
				conn.Read(make([]byte, 4<<10))
				io.WriteString(conn, c.answers)
			})
			p := piped(t, s.Addr)
			var futures []*future
			for range 4 {
				f, err := p.send(testutil.InTime(t), getting("/"))
				require.NoError(t, err)
				futures = append(futures, f)
			}
			close(all)

			first, err := futures[0].wait(testutil.InTime(t))
			require.NoError(t, err)
			assert.Equal(t, "1", string(first.body))
			for _, f := range futures[1:] {
				_, err := f.wait(testutil.InTime(t))
				assert.ErrorIs(t, err, c.want, "MUST, RFC 9112 §9.5: what was not answered has failed. future.go, end")
				assert.ErrorContains(t, err, c.says)
			}
			_, err = p.send(testutil.InTime(t), getting("/"))
			assert.ErrorIs(t, err, c.want, "and nothing more is sent")
		})
	}
}

func TestPipelineRefusesWhatNobodyAskedFor(t *testing.T) {
	t.Parallel()
	late := make(chan bool)
	s := testutil.Serve(t, func(c *net.TCPConn, number int) {
		c.Read(make([]byte, 4<<10))
		if number == 1 {
			io.WriteString(c, testutil.Saying("1")+testutil.Saying("INJECTED"))
		} else {
			io.WriteString(c, testutil.Saying("1"))
			<-late
			io.WriteString(c, testutil.Saying("INJECTED"))
			late <- true
		}
		c.Read(make([]byte, 4<<10))
	})
	for range 2 {
		p := piped(t, s.Addr)
		f, err := p.send(testutil.InTime(t), getting("/"))
		require.NoError(t, err)
		a, err := f.wait(testutil.InTime(t))
		require.NoError(t, err)
		require.Equal(t, "1", string(a.body))
		if s.Accepted() == 2 {
			testutil.Give(t, late, true, "the server has answered")
			testutil.Soon(t, late, "the server has sent what nobody asked for")
		}

		f, err = p.send(testutil.InTime(t), getting("/"))
		if err == nil {
			_, err = f.wait(testutil.InTime(t))
		}

		assert.ErrorIs(t, err, client.ErrUnsolicited)
	}
}

func TestOnlyWhatMayBeSentTwiceIsPipelined(t *testing.T) {
	t.Parallel()
	p := piped(t, testutil.Polite(t).Addr)

	_, err := p.send(testutil.InTime(t), posting("/", "x"))

	assert.ErrorIs(t, err, ErrNotIdempotent, "SHOULD NOT, RFC 9112 §9.3.2")
	c := getting("/")
	c.Body = []byte("x")
	_, err = p.send(t.Context(), c)
	assert.ErrorIs(t, err, errBodyUnread, "the server may take it for the next call. call.go, unexpectedBody")
}

func TestPipelineHasBounds(t *testing.T) {
	t.Parallel()
	s := testutil.Serve(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	p := piped(t, s.Addr)
	for range maxAhead {
		_, err := p.send(testutil.InTime(t), getting("/"))
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), socket.Tick)
	defer cancel()

	_, err := p.send(ctx, getting("/"))

	assert.ErrorIs(t, err, context.DeadlineExceeded)
	long := piped(t, testutil.Answering(t, func(int, *http.Request) string { return testutil.Saying(strings.Repeat("x", 2*maxWhole)) }).Addr)
	f, err := long.send(testutil.InTime(t), getting("/"))
	require.NoError(t, err)
	_, err = f.wait(testutil.InTime(t))
	assert.ErrorIs(t, err, errBodyTooLong)
}

func TestClosedPipelineFailsWhoWaits(t *testing.T) {
	t.Parallel()
	s := testutil.Serve(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	p := piped(t, s.Addr)
	f, err := p.send(testutil.InTime(t), getting("/"))
	require.NoError(t, err)
	time.AfterFunc(socket.Tick, p.Close)

	_, err = f.wait(testutil.InTime(t))

	assert.ErrorIs(t, err, ErrClosed)
}
