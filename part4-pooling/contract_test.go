package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/internal/testutil"
)

// The contract of a gateway speaks over the wire alone: with a client, and with a
// backend that does what a test says. So it judges a gateway in any language
// (notes/contract.md).

// A script is what a backend does with one connection; number counts from 1.
type script func(c *net.TCPConn, number int)

// contractGateway returns the address of a gateway whose backend runs script for
// each connection until the test ends: the gateway in $SERVER with the backend in
// $BACKEND, or this part's, changed by change.
func contractGateway(t testing.TB, backend script, change ...func(*gateway.Gateway)) (addr string) {
	t.Helper()
	if at := judgedBackend(t); at != "" {
		var kept int
		t.Cleanup(func() { useUp(addr, kept) })
		s := testutil.ServeScriptAt(t, at, backend)
		t.Cleanup(func() { kept = s.Open() })
		return startJudgedServer(t)
	}
	r, _ := startGateway(t, testutil.ServeScript(t, backend).Addr, change...)
	return r.addr
}

// gatewayTo is contractGateway for a backend that the test makes: start gets the
// address that it must have, and returns the one that it has.
func gatewayTo(t testing.TB, start func(at string) string, change ...func(*gateway.Gateway)) (addr string) {
	t.Helper()
	if at := judgedBackend(t); at != "" {
		start(at)
		return startJudgedServer(t)
	}
	r, _ := startGateway(t, start("127.0.0.1:0"), change...)
	return r.addr
}

// judging is held by the test that has the backend of the gateway in $SERVER.
var judging sync.Mutex

// judgedBackend returns the address of the backend of the gateway in $SERVER, and
// gives it to t until it ends. Without $SERVER it returns "".
func judgedBackend(t testing.TB) (addr string) {
	t.Helper()
	if os.Getenv("SERVER") == "" {
		return ""
	}
	judging.Lock()
	t.Cleanup(judging.Unlock)
	if os.Getenv("BACKEND") == "" { // go test alone, without the judge
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		os.Setenv("BACKEND", "http://"+l.Addr().String())
		l.Close()
	}
	return strings.TrimPrefix(os.Getenv("BACKEND"), "http://")
}

// useUp lets the gateway at addr find that the connections are closed which it has
// kept from a test that has ended, n at most. A gateway that checks none before use,
// because step 6.5 is not built, fails one request for each: none of the next test.
func useUp(addr string, n int) {
	for range n {
		c, err := net.DialTimeout("tcp", addr, patience())
		if err != nil {
			return
		}
		c.SetDeadline(time.Now().Add(patience()))
		io.WriteString(c, get("/", closeField))
		_, err = io.Copy(io.Discard, c) // to 502: nothing listens at the backend's address
		c.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// contract returns the address of a server with the routes of part 3: this part's
// own, or the gateway in $SERVER, whose backend has them.
func contract(t testing.TB) (addr string) {
	t.Helper()
	if at := judgedBackend(t); at != "" {
		l, err := net.Listen("tcp", at)
		require.NoError(t, err)
		var open atomic.Int64
		s := &http.Server{Handler: contractRoutes(), ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed:
				open.Add(-1)
			}
		}}
		go s.Serve(l) // until Close
		t.Cleanup(func() {
			kept := open.Load()
			s.Close()
			useUp(addr, int(kept))
		})
		return startJudgedServer(t)
	}
	return startServer(t).addr
}

// contractRoutes are those routes of part 3 that the order of responses is tested
// with, by net/http.
func contractRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "Hello, World!\n") })
	mux.HandleFunc("GET /sleep/{duration}", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.PathValue("duration"))
		time.Sleep(d) // the input: a handler that takes as long
		fmt.Fprintf(w, "slept %v\n", d)
	})
	mux.HandleFunc("GET /stream/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		for i := range n {
			fmt.Fprintf(w, "line %d\n", i+1)
			w.(http.Flusher).Flush()
		}
	})
	return mux
}
