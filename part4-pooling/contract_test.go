package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
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
		testutil.ServeScriptAt(t, at, backend)
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

// contract returns the address of a server with the routes of part 3: this part's
// own, or the gateway in $SERVER, whose backend has them.
func contract(t testing.TB) string {
	t.Helper()
	if at := judgedBackend(t); at != "" {
		l, err := net.Listen("tcp", at)
		require.NoError(t, err)
		s := &http.Server{Handler: contractRoutes()}
		go s.Serve(l) // until Close
		t.Cleanup(func() { s.Close() })
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
