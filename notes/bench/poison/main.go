// The poison program asks a server that sends more than it was asked for, and
// counts the answers that were given to a caller who had not asked for them.
// With every fifth answer comes a second one, in the same write, that belongs to
// nobody: TestEveryCallerGetsItsOwnResponse of part 4, for other clients. With
// -late it comes later, when the next request may be on its way.
//
//	go -C notes run ./bench/poison [-late 300us]
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	callers, each = 64, 320
	connections   = 32
	poison        = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nINJECTED"
)

var late = flag.Duration("late", 0, "how much later the second answer comes; 0: with the first")

func main() {
	flag.Parse()
	log.SetOutput(io.Discard) // net/http says there what it has seen in time
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go serve(l)
	url := "http://" + l.Addr().String() + "/"
	t := &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections}
	report("net/http", func(path string) (string, error) {
		answer, err := (&http.Client{Transport: t}).Get(url + path)
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return string(body), err
	})
	c := &fasthttp.HostClient{Addr: l.Addr().String(), MaxConns: connections, MaxConnWaitTimeout: time.Minute}
	report("fasthttp", func(path string) (string, error) {
		q, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
		defer fasthttp.ReleaseRequest(q)
		defer fasthttp.ReleaseResponse(a)
		q.SetRequestURI(url + path)
		err := c.Do(q, a)
		return string(a.Body()), err
	})
}

// serve answers each request with its own path, and now and then with more.
func serve(l net.Listener) {
	var n atomic.Int64
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			in := make([]byte, 4<<10)
			for got, err := c.Read(in); err == nil; got, err = c.Read(in) {
				path := strings.Fields(string(in[:got]))[1][1:]
				answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(path), path)
				switch second := n.Add(1)%5 == 0; {
				case second && *late > 0:
					time.AfterFunc(*late, func() { io.WriteString(c, poison) })
				case second:
					answer += poison
				}
				io.WriteString(c, answer)
			}
		}()
	}
}

// report lets all callers call, and prints what they got.
func report(name string, get func(path string) (string, error)) {
	var wrong, failed atomic.Int64
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			for j := range each {
				want := fmt.Sprintf("%d-%d", i, j)
				if body, err := get(want); err != nil {
					failed.Add(1)
				} else if body != want {
					wrong.Add(1)
				}
			}
		})
	}
	group.Wait()
	fmt.Printf("%-10s %5d calls, %5d failed, %5d got an answer that was not theirs\n", name, callers*each, failed.Load(), wrong.Load())
}
