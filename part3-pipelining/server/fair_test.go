package server

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// useOneLoop is an option of startServer: one loop serves all connections.
func useOneLoop(s *Server) {
	for _, d := range s.drivers[1:] {
		d.closeUnused()
	}
	s.drivers = s.drivers[:1]
}

// discardResponse reads one whole response to a GET. It returns an error unless that is a 200.
func discardResponse(in *bufio.Reader) error {
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return err
	}
	if r.StatusCode != 200 {
		return errors.New(r.Status)
	}
	return nil
}

// The handler of a greedy client's requests sends a neighbour's request now and then. The
// test counts how many more of the greedy client's requests are handled before the
// neighbour's. It needs no clock. One read holds 1,200 of the greedy client's requests.
func TestDeepPipelineDelaysOthersByOneTurnOnly(t *testing.T) {
	t.Parallel()
	const asks, every = 20, 2000
	var mu sync.Mutex // guards the variables below: handlers that block run in parallel
	var neighbour io.Writer
	var handled, askedAt int
	var waited []int
	r := startServer(t, useOneLoop, withHandler(func(w *Response, r *Request) {
		mu.Lock()
		defer mu.Unlock()
		switch string(r.Path) {
		case "/n":
			waited = append(waited, handled-askedAt)
		default:
			if handled++; handled%every == every/2 && handled < asks*every {
				askedAt = handled
				io.WriteString(neighbour, get("/n"))
			}
		}
		w.WriteString("ok")
	}), func(s *Server) { s.Limits.Pipeline = 1 << 20 })
	n := converse(t, r.addr, "")
	mu.Lock()
	neighbour = n
	mu.Unlock()
	all := strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", asks*every)
	greedy := converse(t, r.addr, "")
	go io.WriteString(greedy, all) // ends when everything is sent, or with the test

	for c, answers := range map[io.Reader]int{greedy: asks * every, n: asks} {
		in := bufio.NewReader(c)
		for i := range answers {
			require.NoError(t, discardResponse(in), "response %d", i)
		}
	}

	mu.Lock()
	defer mu.Unlock()
	slices.Sort(waited)
	t.Logf("requests of the greedy client between a neighbour's request and its response: %v", waited)
	assert.LessOrEqual(t, waited[asks/2], 128, "house rule: a connection's turn is 64 requests, and new events come before the rest of its pipeline (loop.go, nextRequest; rounds.go)")
}

// A pipeline deeper than a turn is resumed without an event: its requests have been read
// already. Now and then its handlers keep the slot queue full, and the client sends in
// pieces while other connections have their turns.
func TestPipelineLongerThanATurnIsServedCompletely(t *testing.T) {
	t.Parallel()
	for _, slots := range []int{1, 2, 32, 1000} {
		r := startServer(t, useOneLoop, func(s *Server) { s.Limits.Pipeline, s.Limits.HeadTime = slots, 2*time.Second })
		const requests, clients = 2000, 4
		ended := make(chan error)
		for range clients {
			c := converse(t, r.addr, "")
			go func() { // ends when everything is sent, or with the test
				piece := strings.Repeat(get("/"), 74) + get("/sleep/1ms")
				for sent := 0; sent < requests; sent += 75 {
					io.WriteString(c, piece)
				}
			}()
			go func() { // the test waits for it
				in, err := bufio.NewReader(c), error(nil)
				for i := 0; i < requests && err == nil; i++ {
					err = discardResponse(in)
				}
				ended <- err
			}()
		}
		for range clients {
			require.NoError(t, receive(t, ended, "all responses"), "house rule: a connection that waits for its turn gets it, -pipeline %d (takerequest.go, yieldTurn)", slots)
		}
	}
}
