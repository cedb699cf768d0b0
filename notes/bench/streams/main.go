// The streams program races gateways that speak HTTP/1.1 to clients and HTTP/2 over
// cleartext to one backend: part 4's engine, and its peers. What is measured has one
// core; the backend and the load share the other. The gateways have turns, and a figure
// is the median of the turns.
//
//	go -C notes run ./bench/streams                                the table
//	go -C notes run ./bench/streams -only part4,haproxy -turns 9   some of them
//	go -C notes run ./bench/streams -backend go                    a backend that speaks HTTP/1.1 too, for what HTTP/2 costs
//	go -C notes run ./bench/streams backend nginx                  starts a backend, and says where
//	go -C notes run ./bench/streams gateway reverseproxy ADDR BACKEND
//
// Before the race each gateway answers one request through a relay that looks at what it
// says to the backend; one that does not speak HTTP/2 there does not take part. The load
// generator compares all responses, so that each is the backend's 200.
//
// It needs Linux, two cores and taskset; the peers take part if they are installed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"socketup/notes/backends"
)

var (
	turns   = flag.Int("turns", 5, "`turns` of each gateway in each case")
	length  = flag.Duration("for", time.Second, "`duration` of a turn")
	kind    = flag.String("backend", "nghttpd", "`backend`: "+strings.Join(backends.Names, ", "))
	streams = flag.Int("streams", 4096, "concurrent `streams` that the backend allows on a connection; 0: its default")
	only    = flag.String("only", "", "`gateways` that take part, with commas between them; all if empty")
	cases   = flag.String("cases", "32x1,32x16,256x1,256x16", "connections of clients, and requests in flight on each")
	root    = flag.String("root", "..", "`directory` that part 4 is built from")
)

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "backend":
		err = serveBackend(os.Args[2], backends.Options{})
	case len(os.Args) == 5 && os.Args[1] == "gateway" && os.Args[2] == "reverseproxy":
		err = http.ListenAndServe(os.Args[3], reverseProxy(os.Args[4]))
	case len(os.Args) == 4 && os.Args[1] == "racing": // what the race starts
		var n int
		fmt.Sscan(os.Args[3], &n)
		err = serveBackend(os.Args[2], backends.Options{Streams: n, Fast: true})
	default:
		flag.Parse()
		err = race()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveBackend prints the address of a backend, and stops it at SIGINT or SIGTERM.
func serveBackend(name string, o backends.Options) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	b, err := backends.Start(name, o)
	if err != nil {
		return err
	}
	defer b.Close()
	fmt.Println(b.Addr)
	<-stop
	return nil
}

// reverseProxy is net/http's, with a transport that speaks HTTP/2 to the backend.
func reverseProxy(backend string) http.Handler {
	t := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	t.Protocols.SetUnencryptedHTTP2(true)
	return &httputil.ReverseProxy{Transport: t, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: backend})
		r.SetXForwarded()
	}}
}

var errNotHTTP2 = errors.New("it does not speak HTTP/2 to the backend")
