package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/socket"
)

// The pause experiment. A server is stopped (SIGSTOP; freezing a container has
// the same effect) for longer than it keeps idle connections, then continues.
// While it is stopped its kernel acts for it: connections stay open, handshakes
// succeed, bytes are acknowledged. When it continues, it first closes the
// connections that have been idle too long, and those are the ones its clients
// use next.

const serverIdleTime = 250 * time.Millisecond // how long the server keeps an idle connection

// serveUntilIdle is the server of the experiment: one goroutine, one timer and
// one fixed response for each connection. It treats every read as one request,
// which holds for the client here. Part 3's server would not show the effect:
// it counts idle time in ticks, and a stopped process does not tick.
func serveUntilIdle(addr string, idle time.Duration, stdout io.Writer) error {
	fd, err := socket.Listen(addr, backlog)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "listening on http://%s\n", socket.LocalAddr(fd))
	for {
		c, _, err := socket.Accept(fd)
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		} else if err != nil {
			return err
		}
		p, err := socket.NewFD(c)
		if err != nil {
			return err
		}
		go answerUntilIdle(p, idle) // until the client closes, or is idle for too long
	}
}

func answerUntilIdle(p socket.FD, idle time.Duration) {
	defer p.Close()
	request := make([]byte, 4<<10)
	for _, err := p.Read(request); err == nil; _, err = p.Read(request) {
		io.WriteString(p, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n")
		p.SetReadDeadline(time.Now().Add(idle)) // idle from now on; a new connection is not
	}
}

// A pausableServer is serveUntilIdle in a process of its own.
type pausableServer struct {
	addr string
	cmd  *exec.Cmd
}

// startPausableServer starts the verb keep; the caller calls stop.
func startPausableServer() (*pausableServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "keep", "-idle", serverIdleTime.String())
	cmd.Env, cmd.SysProcAttr = append(os.Environ(), "BE_THE_PROGRAM=yes"), killWithParent()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err = cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	return &pausableServer{strings.TrimPrefix(strings.TrimSpace(line), "listening on http://"), cmd}, err
}

// pause stops the process (SIGSTOP) and returns when it has stopped.
func (s *pausableServer) pause() error {
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	var status unix.WaitStatus
	_, err := unix.Wait4(s.cmd.Process.Pid, &status, unix.WUNTRACED, nil)
	for err == unix.EINTR {
		_, err = unix.Wait4(s.cmd.Process.Pid, &status, unix.WUNTRACED, nil)
	}
	return err
}

func (s *pausableServer) resume() error { return s.cmd.Process.Signal(syscall.SIGCONT) }

// stop kills the process and waits until it has ended.
func (s *pausableServer) stop() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// A policy is how a client handles connections that may have gone stale.
type policy struct {
	name        string
	method      string
	dropOnPause bool // drop all connections when the server is paused
	skipCheck   bool // reuse a connection without checking it
}

var policies = []policy{
	{name: "reuse unchecked", method: "POST", skipCheck: true},
	{name: "check before reuse", method: "POST"},
	{name: "drop all when paused", method: "POST", dropOnPause: true},
	{name: "check, and retry once", method: "PUT"},
}

// play pauses a server rounds times while calls connections to it are idle,
// sends a request on each as soon as it continues, and counts the failures.
func (p policy) play(rounds, calls int) (failed int, err error) {
	s, err := startPausableServer()
	if err != nil {
		return 0, err
	}
	defer s.stop()
	for range rounds {
		n, err := p.playRound(s, calls)
		if err != nil {
			return 0, err
		}
		failed += n
	}
	return failed, nil
}

func (p policy) playRound(s *pausableServer, calls int) (failed int, err error) {
	pool := pool.New(pool.Limits{PerBackend: calls, Total: calls, IdleTime: time.Hour, Lifetime: time.Hour}) // longer than the server keeps connections: the mistake
	defer pool.Close()
	links, err := fillPool(pool, s.addr, calls)
	if err != nil {
		return 0, err
	}
	if err := s.pause(); err != nil {
		return 0, err
	}
	if p.dropOnPause {
		pool.DropAll(s.addr)
	}
	time.Sleep(serverIdleTime + serverIdleTime/2) // while the server is stopped
	if err := s.resume(); err != nil {
		return 0, err
	}
	var group sync.WaitGroup
	var failures atomic.Int64
	for _, l := range links {
		group.Go(func() {
			if p.roundTrip(pool, s.addr, l.Conn) != nil {
				failures.Add(1)
			}
		})
	}
	group.Wait()
	return int(failures.Load()), nil
}

// fillPool opens n connections to addr, sends one request on each, and leaves
// them idle.
func fillPool(p *pool.Pool, addr string, n int) (links []*pool.Lease, err error) {
	var answers []*client.Response
	defer func() {
		for _, a := range answers {
			a.Close()
		}
	}()
	for range n {
		l, err := p.Get(context.Background(), addr, &client.DefaultTimeouts)
		if err != nil {
			return nil, err
		}
		a, err := l.RoundTrip(context.Background(), newRequest("GET", "/"), &client.DefaultTimeouts, time.Time{})
		if err != nil {
			return nil, err
		}
		links, answers = append(links, l), append(answers, a)
	}
	return links, nil
}

func newRequest(method, target string) *client.Request {
	c := &client.Request{Method: []byte(method), Target: []byte(target), Host: []byte("socket.up")}
	if client.MethodExpectsBody(c.Method) {
		c.Body = []byte("Hello, World!\n")
	}
	return c
}

// roundTrip sends one request; with skipCheck on l itself, bypassing the pool.
func (p policy) roundTrip(pool *pool.Pool, addr string, l *client.Conn) error {
	c := newRequest(p.method, "/")
	var a *client.Response
	var err error
	if p.skipCheck {
		a, err = l.RoundTrip(context.Background(), c, &client.DefaultTimeouts, time.Time{})
	} else {
		a, err = pool.RoundTrip(context.Background(), addr, c, &client.DefaultTimeouts)
	}
	if err != nil {
		return err
	}
	defer func() {
		if !p.skipCheck {
			a.Close()
		}
	}()
	if a.Status != 200 {
		return fmt.Errorf("status %d", a.Status)
	}
	return nil
}

// staleReuse records on t how one connection goes stale in a pause.
func staleReuse(t *timeline) error {
	s, err := startPausableServer()
	if err != nil {
		return err
	}
	defer s.stop()
	l, err := client.DialIP(context.Background(), s.addr, client.DefaultTimeouts.Connect)
	if err != nil {
		return err
	}
	defer l.Close()
	say := func(who, what, to string) { t.record(time.Now(), who, what, to) }
	if err := postOnce(l); err != nil {
		return err
	}
	say("client", "has the response to a POST, and keeps the connection", "")
	if err := s.pause(); err != nil {
		return err
	}
	say("server", fmt.Sprintf("is stopped: SIGSTOP. Its idle timer of %v runs on", serverIdleTime), "")
	another, err := client.DialIP(context.Background(), s.addr, client.DefaultTimeouts.Connect)
	if err != nil {
		return err
	}
	defer another.Close()
	say("kernel", "accepts a new connection for it", "client")
	time.Sleep(serverIdleTime + serverIdleTime/2)
	say("client", "checks it: "+describeCheck(l.CheckIdle()), "")
	if err := s.resume(); err != nil {
		return err
	}
	say("server", "continues: SIGCONT", "")
	say("client", "sends a POST on it immediately", "server")
	err = postOnce(l)
	does, means := describeOutcome(err)
	say("server", does, "client")
	say("client", "reads, and gets: "+means, "")
	return nil
}

// postOnce sends a POST on l and reads the response.
func postOnce(l *client.Conn) error {
	a, err := l.RoundTrip(context.Background(), newRequest("POST", "/"), &client.DefaultTimeouts, time.Time{})
	if err == nil {
		_, err = io.Copy(io.Discard, struct{ io.Reader }{a})
	}
	return err
}

func describeCheck(err error) string {
	if err == nil {
		return "no byte, no FIN. It looks healthy"
	}
	return "the server has closed it"
}

// describeOutcome says what the server did, and what its client knows of it.
func describeOutcome(err error) (does, means string) {
	switch {
	case err == nil:
		return "responds", "200 OK. Lucky: the timer fired second"
	case errors.Is(err, unix.ECONNRESET):
		return "closes: RST", "connection reset by peer. Processed?"
	}
	return "closes: FIN", "the connection ended. Processed?"
}
