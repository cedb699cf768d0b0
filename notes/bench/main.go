// The bench program holds what part 3 is measured with: the peers that it is
// raced against, and a load generator that does not become the bottleneck.
//
//	bench nethttp ADDR     Go's net/http
//	bench fasthttp ADDR    github.com/valyala/fasthttp
//	bench limit ADDR       an epoll loop that counts empty lines and parses nothing
//	bench load -addr ADDR -conns 32 -depth 16 -for 1s -pid PID
//	bench growth DIR       records how all of them grow with depth and connections, in DIR
//
// speed.sh runs all of them, each against each.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/valyala/fasthttp"
)

const helloWorld = "Hello, World!\n"

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: bench nethttp|fasthttp|limit ADDR, bench load FLAGS, or bench growth DIR")
		os.Exit(2)
	}
	var err error
	switch verb, addr := os.Args[1], os.Args[2]; verb {
	case "nethttp":
		err = http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			io.WriteString(w, helloWorld)
		}))
	case "fasthttp":
		err = fasthttp.ListenAndServe(addr, func(c *fasthttp.RequestCtx) {
			c.SetContentType("text/plain; charset=utf-8")
			c.WriteString(helloWorld)
		})
	case "limit":
		err = limit(addr)
	case "growth":
		err = growth(os.Args[2])
	case "load":
		err = load(os.Args[2:])
	default:
		err = fmt.Errorf("unknown verb %q", verb)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
