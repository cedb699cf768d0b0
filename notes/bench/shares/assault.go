package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	honestAddress = "127.0.0.1"
	enemyAddress  = "127.0.0.66"
)

// attackFrom is the process that makes an attack. Its script, with the one that
// measures at the other end:
//
//	it prints the addresses of its backends    strike starts the programs
//	                                           and sends the address to attack
//	it attacks
//	it prints how many bytes it has sent       strike closes its input
//	it ends, and with it all its connections
func attackFrom(name string) {
	lowerPriority()
	var evil []string
	a := &assault{}
	for range evilBackends {
		evil = append(evil, a.serveEvil())
	}
	fmt.Println(strings.Join(evil, " "))
	in := bufio.NewScanner(os.Stdin)
	if !in.Scan() {
		return
	}
	a.addr = in.Text()
	for _, at := range attacks {
		if at.name == name {
			a.attack(&at)
		}
	}
	fmt.Printf("%d %s\n", a.sent.Load(), a.note)
	in.Scan()
}

// An assault is an attack that goes on, and its tools.
type assault struct {
	addr string
	ctx  context.Context
	sent atomic.Int64 // bytes, by its clients and its backends
	mu   sync.Mutex
	note string
	all  []*enemy // to the end: a connection that nothing refers to is closed by the garbage collector
}

const least = 400 * time.Millisecond // of an attack that makes work: the honest client has asked 20 times

// attack runs until its work is done, which is done again if it took no time; an
// attack that took places then holds them until its time is over.
func (a *assault) attack(at *attack) {
	ctx, cancel := context.WithTimeout(context.Background(), length[at.kind])
	defer cancel()
	a.ctx = ctx
	done := make(chan struct{})
	began := time.Now()
	go func() {
		for at.run(a); at.kind == works && time.Since(began) < least; {
			at.run(a)
		}
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	if at.kind == takes || at.kind == parks {
		<-ctx.Done()
	}
}

func (a *assault) over() bool { return a.ctx.Err() != nil }

// notes keeps a sentence for the table.
func (a *assault) notes(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.note = fmt.Sprintf(format, args...)
}

// pause waits, but not longer than the attack has.
func (a *assault) pause(d time.Duration) {
	select {
	case <-a.ctx.Done():
	case <-time.After(d):
	}
}

// each calls f n times at once, and waits for all.
func (a *assault) each(n int, f func(i int)) {
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { f(i) })
	}
	group.Wait()
}

// An enemy is a connection of the attacker.
type enemy struct {
	*net.TCPConn
	in *bufio.Reader
}

// dial connects, from an address of its own.
func (a *assault) dial(from string) *enemy { return a.connect(from, nil) }

// dialDeaf connects with hardly any room for what is not read.
func (a *assault) dialDeaf() *enemy { return a.connect("", receiveBuffer(2<<10)) }

// dialSlow connects with as much room as a client far away has.
func (a *assault) dialSlow() *enemy { return a.connect("", receiveBuffer(64<<10)) }

func receiveBuffer(n int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, n) })
	}
}

func (a *assault) connect(from string, control func(string, string, syscall.RawConn) error) *enemy {
	if from == "" {
		from = enemyAddress
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Control: control}
	c, err := d.DialContext(a.ctx, "tcp4", a.addr)
	if err != nil {
		if !a.over() {
			a.notes("%v", err)
		}
		select {} // until the process ends
	}
	e := &enemy{c.(*net.TCPConn), bufio.NewReader(c)}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, e)
	return e
}

// send writes all, and does not mind if it cannot.
func (a *assault) send(c *enemy, b string) error {
	n, err := io.WriteString(c, b)
	a.sent.Add(int64(n))
	return err
}

// drip sends byte after byte, each in a packet of its own.
func (a *assault) drip(c *enemy, b string, pause time.Duration) {
	for i := 0; i < len(b) && !a.over(); i++ {
		if a.send(c, b[i:i+1]) != nil {
			return
		}
		if pause > 0 {
			a.pause(pause)
		} else if i%64 == 63 { // so that the server is there when the next one comes
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// sip reads rate bytes a second, for as long as the attack goes on.
func (a *assault) sip(c *enemy, rate int) { a.sipFor(c, rate, time.Hour) }

func (a *assault) sipFor(c *enemy, rate int, d time.Duration) (total int64) {
	buf := make([]byte, rate/20)
	for end := time.Now().Add(d); !a.over() && time.Now().Before(end); a.pause(50 * time.Millisecond) {
		n, err := c.TCPConn.Read(buf)
		if total += int64(n); err != nil {
			return total
		}
	}
	return total
}

// ask sends requests and reads as many answers, at the same time.
func (a *assault) ask(c *enemy, requests string, answers int) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range answers {
			if err := a.answer(c); err != nil {
				return
			}
		}
	}()
	a.send(c, requests)
	<-done
}

// repeat asks for the same n times, pipelined on one connection.
func (a *assault) repeat(request string, n int) {
	c := a.dial("")
	const depth = 16
	for done := 0; done < n && !a.over(); done += depth {
		a.ask(c, strings.Repeat(request, depth), depth)
	}
}

// answer reads one. What is no success is noted.
func (a *assault) answer(c *enemy) error {
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		if !a.over() {
			a.notes("%v", err)
		}
		return err
	}
	defer r.Body.Close()
	if _, err = io.Copy(io.Discard, r.Body); err == nil && r.StatusCode != 200 {
		a.notes("%d", r.StatusCode)
	}
	return err
}
