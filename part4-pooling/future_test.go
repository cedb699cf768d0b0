package main

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
)

// piped is a pipeline to addr; it is closed when the test ends.
func piped(t testing.TB, addr string) *pipeline {
	t.Helper()
	p := newPipeline(linked(t, addr), quick)
	t.Cleanup(p.close)
	return p
}

func TestFuturesGetTheAnswersInOrder(t *testing.T) {
	t.Parallel()
	s := answering(t, func(_ int, r *http.Request) string {
		if r.Method == "HEAD" {
			return "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
		}
		return saying(r.URL.Path)
	})
	p := piped(t, s.addr)
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			for j := range 50 {
				want := fmt.Sprintf("/%d/%d/%s", i, j, strings.Repeat("x", j*i))
				c := getting(want)
				if j%7 == 0 {
					c.method, want = []byte("HEAD"), ""
				}
				f, err := p.send(InTime(t), c)
				if err != nil {
					t.Error(err)
					return
				}
				a, err := f.wait(InTime(t))
				if err != nil || string(a.body) != want {
					t.Errorf("asked for %q, got %v, %v", want, a, err)
				}
				f.free() // others get its memory
			}
		})
	}
	Finish(t, &group, "all goroutines of the test end")
	assert.Equal(t, 1, s.accepted())
}

// All who wait must hear of the end, and why.
func TestFuturesFailWithTheReasonWhenTheConnectionEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers string
		want    error
		says    string
	}{
		"closed":              {saying("1"), ErrEnded, "EOF"},
		"closed in a body":    {saying("1") + "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", ErrTruncated, "EOF"},
		"garbage":             {saying("1") + "garbage\r\n\r\n", ErrBadAnswer, "HTTP/1."},
		"close in an answer":  {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1", ErrLastAnswer, "Connection: close"},
		"a body until it end": {"HTTP/1.1 200 OK\r\n\r\n1", ErrLastAnswer, "Connection: close"},
	} {
		t.Run(name, func(t *testing.T) {
			all := make(chan struct{})
			s := scriptedServer(t, func(conn *net.TCPConn, _ int) {
				<-all
				conn.Read(make([]byte, 4<<10))
				io.WriteString(conn, c.answers)
			})
			p := piped(t, s.addr)
			var futures []*future
			for range 4 {
				f, err := p.send(InTime(t), getting("/"))
				require.NoError(t, err)
				futures = append(futures, f)
			}
			close(all)

			first, err := futures[0].wait(InTime(t))
			require.NoError(t, err)
			assert.Equal(t, "1", string(first.body))
			for _, f := range futures[1:] {
				_, err := f.wait(InTime(t))
				assert.ErrorIs(t, err, c.want, "MUST, RFC 9112 §9.5: what was not answered has failed. future.go, end")
				assert.ErrorContains(t, err, c.says)
			}
			_, err = p.send(InTime(t), getting("/"))
			assert.ErrorIs(t, err, c.want, "and nothing more is sent")
		})
	}
}

func TestPipelineRefusesWhatNobodyAskedFor(t *testing.T) {
	t.Parallel()
	late := make(chan bool)
	s := scriptedServer(t, func(c *net.TCPConn, number int) {
		c.Read(make([]byte, 4<<10))
		if number == 1 {
			io.WriteString(c, saying("1")+saying("INJECTED"))
		} else {
			io.WriteString(c, saying("1"))
			<-late
			io.WriteString(c, saying("INJECTED"))
			late <- true
		}
		c.Read(make([]byte, 4<<10))
	})
	for range 2 {
		p := piped(t, s.addr)
		f, err := p.send(InTime(t), getting("/"))
		require.NoError(t, err)
		a, err := f.wait(InTime(t))
		require.NoError(t, err)
		require.Equal(t, "1", string(a.body))
		if s.accepted() == 2 {
			Give(t, late, true, "the server has answered")
			Soon(t, late, "the server has sent what nobody asked for")
		}

		f, err = p.send(InTime(t), getting("/"))
		if err == nil {
			_, err = f.wait(InTime(t))
		}

		assert.ErrorIs(t, err, ErrUnsolicited)
	}
}

func TestOnlyWhatMayBeSentTwiceIsPipelined(t *testing.T) {
	t.Parallel()
	p := piped(t, polite(t).addr)

	_, err := p.send(InTime(t), posting("/", "x"))

	assert.ErrorIs(t, err, ErrNotIdempotent, "SHOULD NOT, RFC 9112 §9.3.2")
	c := getting("/")
	c.body = []byte("x")
	_, err = p.send(t.Context(), c)
	assert.ErrorIs(t, err, errBodyUnread, "the server may take it for the next call. call.go, unexpectedBody")
}

func TestPipelineHasBounds(t *testing.T) {
	t.Parallel()
	s := scriptedServer(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	p := piped(t, s.addr)
	for range maxAhead {
		_, err := p.send(InTime(t), getting("/"))
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), tick)
	defer cancel()

	_, err := p.send(ctx, getting("/"))

	assert.ErrorIs(t, err, context.DeadlineExceeded)
	long := piped(t, answering(t, func(int, *http.Request) string { return saying(strings.Repeat("x", 2*maxWhole)) }).addr)
	f, err := long.send(InTime(t), getting("/"))
	require.NoError(t, err)
	_, err = f.wait(InTime(t))
	assert.ErrorIs(t, err, errBodyTooLong)
}

func TestClosedPipelineFailsWhoWaits(t *testing.T) {
	t.Parallel()
	s := scriptedServer(t, func(c *net.TCPConn, _ int) { io.Copy(io.Discard, c) })
	p := piped(t, s.addr)
	f, err := p.send(InTime(t), getting("/"))
	require.NoError(t, err)
	time.AfterFunc(tick, p.close)

	_, err = f.wait(InTime(t))

	assert.ErrorIs(t, err, ErrClosed)
}
