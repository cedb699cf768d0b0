package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
	"socketup/part4-pooling/socket"
)

// The engine's experiments: a client of the gateway has many requests on its
// way, and the gateway brings them to the backend on one connection, or on as
// many as its pool may have.

// A local is a server in this process, for as long as an experiment takes.
type local struct {
	*server.Server
	addr string
	done chan struct{}
}

func runLocal(h server.Handler, t server.Taker) (*local, error) {
	fd, err := socket.Listen("127.0.0.1:0", backlog)
	if err != nil {
		return nil, err
	}
	l := &local{addr: socket.LocalAddr(fd).String(), done: make(chan struct{})}
	if l.Server, err = server.New(fd, h, server.DefaultLimits, slog.New(slog.DiscardHandler)); err != nil {
		return nil, err
	}
	l.Taker = t
	go func() { l.Serve(); close(l.done) }() // until close
	return l, nil
}

func (l *local) close() { l.Stop(); <-l.done }

// A rig is a gateway in front of one backend, and its pool.
type rig struct {
	*local
	g *gateway.Gateway
}

func newRig(backend string, connections int, engine bool) (*rig, error) {
	limits := pool.DefaultLimits
	limits.PerBackend, limits.Total = connections, connections
	g := gateway.New(pool.New(limits), []gateway.Prefix{{Path: "/", Addr: backend, Engine: engine}})
	l, err := runLocal(g.Handler(routes()), g.HandOver)
	return &rig{l, g}, err
}

func (s *rig) close() {
	s.local.close()
	s.g.Pool.Close()
}

// shareConnection plays a burst of requests that take their time.
func shareConnection(stdout io.Writer) error {
	const requests, work = 8, 200 * time.Millisecond
	var working atomic.Int64
	back, err := runLocal(func(w *server.Response, r *server.Request) {
		working.Add(1)
		time.Sleep(work)
		w.WriteString(string(r.Path) + "\n")
	}, nil)
	if err != nil {
		return err
	}
	defer back.close()
	s, err := newRig(back.addr, 1, true)
	if err != nil {
		return err
	}
	defer s.close()
	c, err := dialLocal(s.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.ask(pathsFrom(1, 1)); err != nil { // the connection to the backend is there, and known to persist
		return err
	}
	began, before := time.Now(), working.Load()
	fmt.Fprintf(stdout, "  a client sends %d requests in one write; each is %v of work\n", requests, work)
	if _, err := c.Write(pathsFrom(1, requests)); err != nil {
		return err
	}
	for working.Load() < before+requests && time.Since(began) < time.Second {
		time.Sleep(time.Millisecond)
	}
	slots, running := s.InHand()
	fmt.Fprintf(stdout, "  meanwhile in the gateway: %d slots wait for their answers, %d handlers run\n", slots, running)
	fmt.Fprintf(stdout, "  the backend works on %d requests, from %d connection\n", working.Load()-before, back.Connections())
	bodies, err := c.bodies(requests)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "  after %d ms the client has the answers to %s\n",
		time.Since(began).Milliseconds(), strings.Join(bodies, " "))
	return nil
}

// compareEngine prints the table that says when an engine is worth it: answers
// per second to a client with 32 requests on its way, always.
func compareEngine(stdout io.Writer) error {
	fmt.Fprintf(stdout, "  %-34s  %10s  %10s  %10s\n", "backend", "pool of 1", "pool of 32", "engine")
	for _, b := range []struct {
		name     string
		parallel bool
		work     time.Duration
	}{
		{"side by side (part 3), at once", true, 0},
		{"side by side (part 3), 1 ms each", true, time.Millisecond},
		{"one by one (most), at once", false, 0},
		{"one by one (most), 1 ms each", false, time.Millisecond},
	} {
		addr, stop, err := workshop(b.parallel, b.work)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "  %-34s", b.name)
		for _, how := range []struct {
			connections int
			engine      bool
		}{{1, false}, {32, false}, {1, true}} {
			rate, err := answersPerSecond(addr, how.connections, how.engine)
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "  %10.0f", rate)
		}
		fmt.Fprintln(stdout)
		stop()
	}
	return nil
}

func answersPerSecond(backend string, connections int, engine bool) (float64, error) {
	const length, depth = 400 * time.Millisecond, 32
	s, err := newRig(backend, connections, engine)
	if err != nil {
		return 0, err
	}
	defer s.close()
	c, err := dialLocal(s.addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	batch, n := pathsFrom(0, depth/2), 0
	if _, err := c.Write(batch); err != nil {
		return 0, err
	}
	began := time.Now()
	for ; time.Since(began) < length; n += depth / 2 { // while one half is answered the other is on its way
		if err := c.ask(batch); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

// workshop is a backend that works on the requests of a connection side by
// side, or one after the other.
func workshop(parallel bool, work time.Duration) (addr string, stop func(), err error) {
	if parallel {
		l, err := runLocal(func(w *server.Response, _ *server.Request) {
			if work > 0 {
				time.Sleep(work)
			}
			w.WriteString("done\n")
		}, nil)
		if err != nil {
			return "", nil, err
		}
		return l.addr, l.close, nil
	}
	fd, err := socket.Listen("127.0.0.1:0", backlog)
	if err != nil {
		return "", nil, err
	}
	p, err := socket.Park(fd)
	if err != nil {
		return "", nil, err
	}
	go serveOneByOne(p, work) // until stop
	return socket.LocalAddr(fd).String(), func() { p.Close() }, nil
}

func serveOneByOne(listener socket.Parked, work time.Duration) {
	for {
		fd, failed := -1, error(nil)
		err := listener.Raw.Read(func(l uintptr) bool {
			fd, _, failed = socket.Accept(int(l))
			return failed != unix.EAGAIN
		})
		if err != nil {
			return
		}
		if failed != nil {
			continue
		}
		if c, err := socket.Park(fd); err == nil {
			go oneByOne(c, work) // until its client closes
		}
	}
}

// oneByOne answers the requests of one connection, which have no bodies.
func oneByOne(c socket.Parked, work time.Duration) {
	defer c.Close()
	var in, out []byte
	for buf := make([]byte, 32<<10); ; {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		in, out = append(in, buf[:n]...), out[:0]
		for end := http1.FindHead(in, 0); end > 0; end = http1.FindHead(in, 0) {
			if in = in[end:]; work > 0 {
				time.Sleep(work)
				c.Write([]byte(doneAnswer))
				continue
			}
			out = append(out, doneAnswer...)
		}
		c.Write(out)
	}
}

const doneAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n"

// A talk is a client's connection, as raw as it gets.
type talk struct {
	socket.Parked
	in []byte
}

func dialLocal(addr string) (*talk, error) {
	p, err := client.Connect(context.Background(), addr, client.DefaultTimeouts.Connect)
	return &talk{Parked: p}, err
}

// pathsFrom is requests for /first and so on, n of them.
func pathsFrom(first, n int) (b []byte) {
	for i := range n {
		b = fmt.Appendf(b, "GET /%d HTTP/1.1\r\nHost: socket.up\r\n\r\n", first+i)
	}
	return b
}

// ask sends requests, and reads as many answers.
func (t *talk) ask(requests []byte) error {
	if _, err := t.Write(requests); err != nil {
		return err
	}
	_, err := t.bodies(bytes.Count(requests, []byte("\r\n\r\n")))
	return err
}

// bodies reads n answers, which have a Content-Length.
func (t *talk) bodies(n int) (all []string, err error) {
	buf := make([]byte, 32<<10)
	for len(all) < n {
		var h http1.Heading
		end := http1.FindHead(t.in, 0)
		if end > 0 {
			if err := h.Parse(t.in[:end], []byte("GET")); err != nil {
				return nil, err
			} else if h.Status != 200 || h.Length < 0 {
				return nil, fmt.Errorf("got %q", t.in[:end])
			}
		}
		if end > 0 && len(t.in) >= end+int(h.Length) {
			all = append(all, strings.TrimSpace(string(t.in[end:end+int(h.Length)])))
			t.in = t.in[end+int(h.Length):]
			continue
		}
		got, err := t.Read(buf)
		if err != nil {
			return nil, err
		}
		t.in = append(t.in, buf[:got]...)
	}
	return all, nil
}
