package engine_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/engine"
	"socketup/part4-pooling/pool"
)

// A printer is a sink that prints the body.
type printer struct {
	done      *sync.WaitGroup
	committed bool
}

func (s *printer) Wanted() bool          { return true }
func (s *printer) Head(*client.Response) {}
func (s *printer) Pause() error          { return nil }
func (s *printer) WantsTrailers() bool   { return true }
func (s *printer) Trailers() error       { return nil }
func (s *printer) AwaitTurn()            {}
func (s *printer) Room() int             { return 32 << 10 }
func (s *printer) Committed() bool       { return s.committed }

func (s *printer) Data(piece []byte) error {
	s.committed = true
	fmt.Printf("%s", piece)
	return nil
}

func (s *printer) End(err error) engine.Flusher {
	if err != nil {
		fmt.Println(err)
	}
	s.done.Done()
	return nil
}

func Example() {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.URL.Path+"\n")
	}))
	defer backend.Close()
	addr := backend.Listener.Addr().String()

	p := pool.New(pool.DefaultLimits)
	defer p.Close()
	var counts engine.Counts
	var registry engine.Registry
	defer registry.OnClientGone()
	timeouts := client.DefaultTimeouts
	create := func() *engine.Engine {
		at := p.Reserve(addr, netip.Addr{}, &registry.Line) // now, in the order of the requests
		e := engine.New(func(ctx context.Context, _ bool) (engine.Lane, error) {
			l, err := p.Claim(ctx, at, &timeouts)
			return engine.OpenHTTP1Lane(ctx, l, err, &timeouts, 32)
		}, 20*time.Millisecond, &counts)
		e.Number = at.Number
		return e
	}
	var done sync.WaitGroup
	for _, path := range []string{"/a", "/b", "/c"} {
		done.Add(1)
		job := &engine.Job{
			Request: &client.Request{Method: []byte("GET"), Target: []byte(path), Host: []byte(addr)},
			Sink:    &printer{done: &done}, // its Data prints the body, its End calls done.Done
		}
		if !registry.Push(addr, job, create) {
			log.Fatal("no engine takes the job") // a gateway sends the request itself, with Pool.RoundTrip
		}
	}
	done.Wait()

	// Output:
	// /a
	// /b
	// /c
}
