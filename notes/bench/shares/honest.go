package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

const patience = 1000 * time.Millisecond // of an honest client; then it counts as not answered

// Samples are what an honest client has seen.
type samples struct {
	times  []time.Duration
	failed int
	why    error // the last failure
}

func (s *samples) add(took time.Duration, err error) {
	if s.times = append(s.times, took); err != nil {
		s.failed++
		s.why = err
	}
}

// at is the time that a part of the requests did not exceed.
func (s *samples) at(part float64) time.Duration {
	if len(s.times) == 0 {
		return 0
	}
	slices.Sort(s.times)
	return s.times[min(len(s.times)-1, int(part*float64(len(s.times))))]
}

// A witness is an honest client, which asks for / again and again.
type witness struct{ kept, fresh samples }

// ask runs both clients until stop is closed.
func ask(addr string, stop <-chan struct{}) *witness {
	h := &witness{}
	var group sync.WaitGroup
	group.Go(func() { h.kept.ask(addr, 20*time.Millisecond, true, stop) })
	group.Go(func() { h.fresh.ask(addr, 50*time.Millisecond, false, stop) })
	group.Wait()
	return h
}

func (s *samples) ask(addr string, pause time.Duration, keep bool, stop <-chan struct{}) {
	var c net.Conn
	var in *bufio.Reader
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		began := time.Now()
		var err error
		if c == nil {
			if c, err = net.DialTimeout("tcp4", addr, patience); err == nil {
				in = bufio.NewReader(c)
			}
		}
		if err == nil {
			c.SetDeadline(began.Add(patience))
			err = once(c, in, keep)
		}
		s.add(time.Since(began), err)
		if c != nil && (err != nil || !keep) {
			c.Close()
			c = nil
		}
	}
}

func once(c net.Conn, in *bufio.Reader, keep bool) error {
	request := get("/")
	if !keep {
		request = get("/", "Connection: close")
	}
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && (r.StatusCode != 200 || string(body) != "Hello, World!\n") {
		err = fmt.Errorf("%d: %.60q", r.StatusCode, body)
	}
	return err
}
