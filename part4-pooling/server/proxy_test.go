package server

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/http1"
)

const ruleContext = "house rule: a request's context ends when its response is no longer wanted, and says why. proxy.go, clientContext"

// hangUp closes c with a reset.
func hangUp(t testing.TB, c *net.TCPConn) {
	t.Helper()
	require.NoError(t, c.SetLinger(0))
	require.NoError(t, c.Close())
}

func TestContextSaysWhyTheResponseIsNotWanted(t *testing.T) {
	for name, asks := range map[string]func(context.Context) error{
		"Err":       context.Context.Err,
		"Done, Err": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"AfterFunc": func(ctx context.Context) error {
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			<-child.Done()
			return child.Err()
		},
	} {
		for end, want := range map[string]error{"reset": context.Canceled, "timeout": context.DeadlineExceeded} {
			for _, when := range []string{"before", "after"} {
				t.Run(name+", "+end+" "+when+" Context", func(t *testing.T) {
					started, told := make(chan bool, 1), make(chan error, 1)
					r := startServer(t, withHandler(func(w *Response, _ *Request) {
						var ctx context.Context
						if when == "after" {
							ctx = w.Context()
							assert.NoError(t, ctx.Err())
						}
						started <- true
						<-w.Done()
						if when == "before" {
							ctx = w.Context()
						}
						told <- asks(ctx)
					}), func(s *Server) {
						if end == "timeout" {
							s.Limits.HandlerTime = testTimeout
						}
					})
					c := converse(t, r.addr, get("/"))
					receive(t, started, "the handler runs")

					if end == "reset" {
						hangUp(t, c)
					}

					assert.Equal(t, want, receive(t, told, "the handler has seen the end of its context"), ruleContext)
				})
			}
		}
	}
}

// The exchange of an answered request is used for the next one.
func TestContextOfAnEarlierRequestDoesNotReachTheNext(t *testing.T) {
	var stopEarlier func() bool
	registered, ended := make(chan bool, 2), make(chan bool, 1)
	r := startServer(t, withHandler(func(w *Response, r *Request) {
		if string(r.Path) == "/earlier" {
			stopEarlier = context.AfterFunc(w.Context(), func() {})
			w.Status = 204
			return
		}
		defer context.AfterFunc(w.Context(), func() { ended <- true })()
		stopEarlier()
		registered <- true
		<-w.Done()
	}))
	c := converse(t, r.addr, get("/earlier"))
	_, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	_, err = io.WriteString(c, get("/next"))
	require.NoError(t, err)
	receive(t, registered, "the second request is handled")

	hangUp(t, c)

	receive(t, ended, "the second request's function is called. "+ruleContext)
}

func TestWriteTrailersReportsAFailedConnection(t *testing.T) {
	started, told := make(chan bool, 1), make(chan error, 1)
	r := startServer(t, withHandler(func(w *Response, _ *Request) {
		w.WriteString("the head and a chunk")
		w.Flush()
		started <- true
		<-w.Done()
		told <- w.WriteTrailers([]http1.Field{{Name: []byte("Sum"), Value: []byte("1")}})
	}))
	c := converse(t, r.addr, get("/"))
	receive(t, started, "the response has begun")

	hangUp(t, c)

	assert.Error(t, receive(t, told, "WriteTrailers has returned"), "an error means that the client will not receive the rest. proxy.go, WriteTrailers")
}
