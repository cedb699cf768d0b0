// The pool program holds the peers that part 4 is raced against: clients with
// a pool, and gateways. fasthttp1 has one connection, and so has fasthttpline, which
// pipelines. speed.sh races them.
//
//	pool client nethttp|fasthttp|fasthttp1|fasthttpline ADDR CALLERS FOR
//	pool gateway nethttp|fasthttp ADDR BACKEND
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

const connections = 32 // as many as part 4's pool makes to one backend

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: pool client nethttp|fasthttp|fasthttp1|fasthttpline ADDR CALLERS FOR, or pool gateway nethttp|fasthttp ADDR BACKEND")
		os.Exit(2)
	}
	var err error
	switch kind, addr := os.Args[1]+" "+os.Args[2], os.Args[3]; kind {
	case "client nethttp":
		err = press(nethttpCaller(addr))
	case "client fasthttp":
		err = press(fasthttpCaller(addr, connections))
	case "client fasthttp1":
		err = press(fasthttpCaller(addr, 1))
	case "client fasthttpline":
		err = press(fasthttpLine(addr))
	case "gateway nethttp":
		err = http.ListenAndServe(addr, nethttpGateway(os.Args[4]))
	case "gateway fasthttp":
		err = fasthttp.ListenAndServe(addr, fasthttpGateway(os.Args[4]))
	default:
		err = fmt.Errorf("unknown: %s", kind)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// press lets callers call for some time, and prints calls per second.
func press(call func() error) error {
	callers, err := strconv.Atoi(os.Args[4])
	if err != nil {
		return err
	}
	length, err := time.ParseDuration(os.Args[5])
	if err != nil {
		return err
	}
	var made, failed atomic.Int64
	var group sync.WaitGroup
	began := time.Now()
	for range callers {
		group.Go(func() {
			for time.Since(began) < length {
				if call() != nil {
					failed.Add(1)
				}
				made.Add(1)
			}
		})
	}
	group.Wait()
	calls, took := float64(made.Load()), time.Since(began).Seconds()
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	cpu := float64(r.Utime.Nano() + r.Stime.Nano())
	fmt.Printf("%.0f calls per second by %d callers, %.0f ns of CPU for each, %d failed\n", calls/took, callers, cpu/calls, failed.Load())
	return nil
}

func transport() *http.Transport {
	return &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, DisableCompression: true, ResponseHeaderTimeout: 30 * time.Second}
}

func nethttpCaller(addr string) func() error {
	t := transport()
	request, err := http.NewRequest("GET", "http://"+addr+"/", nil)
	return func() error {
		if err != nil {
			return err
		}
		answer, err := t.RoundTrip(request)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		return err
	}
}

func fasthttpCaller(addr string, connections int) func() error {
	c := &fasthttp.HostClient{Addr: addr, MaxConns: connections, MaxConnWaitTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second}
	return func() error { return fasthttpCall(addr, c.Do) }
}

func fasthttpLine(addr string) func() error {
	c := &fasthttp.PipelineClient{Addr: addr, MaxConns: 1, MaxPendingRequests: 64, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second}
	return func() error { return fasthttpCall(addr, c.Do) }
}

func fasthttpCall(addr string, do func(*fasthttp.Request, *fasthttp.Response) error) error {
	q, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	q.SetRequestURI("http://" + addr + "/")
	err := do(q, a)
	fasthttp.ReleaseRequest(q)
	fasthttp.ReleaseResponse(a)
	return err
}

func nethttpGateway(backend string) http.Handler {
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: backend})
	p.Transport = transport()
	return p
}

func fasthttpGateway(backend string) fasthttp.RequestHandler {
	c := &fasthttp.HostClient{Addr: backend, MaxConns: connections, MaxConnWaitTimeout: 5 * time.Second}
	return func(ctx *fasthttp.RequestCtx) {
		ctx.Request.Header.Del("Connection")
		if err := c.Do(&ctx.Request, &ctx.Response); err != nil {
			ctx.Error(err.Error(), fasthttp.StatusBadGateway)
		}
	}
}
