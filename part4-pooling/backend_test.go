package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A scripted server does what a test says, byte by byte: for each connection
// that it accepts it calls the script with the connection's number, from 1.
type scripted struct {
	addr  string
	mu    sync.Mutex
	count int
	open  map[net.Conn]bool
}

func scriptedServer(t testing.TB, script func(c *net.TCPConn, number int)) *scripted {
	t.Helper()
	ours(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &scripted{addr: l.Addr().String(), open: map[net.Conn]bool{}}
	var accepting, scripts sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			number := s.add(c) // here, so that they have the order in which they came
			scripts.Go(func() {
				script(c.(*net.TCPConn), number)
				c.Close()
				s.remove(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		finish(t, &accepting, "the listener's end") // or one that comes now is not closed
		s.closeAll()
		finish(t, &scripts, "the scripts of the test's own server end")
	})
	return s
}

func (s *scripted) add(c net.Conn) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = true
	s.count++
	return s.count
}

func (s *scripted) remove(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// closeAll closes all connections under the feet of their scripts.
func (s *scripted) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Close()
	}
}

func (s *scripted) accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// answering is a server that answers each request with what answer returns for
// it; "" closes the connection.
func answering(t testing.TB, answer func(connection int, r *http.Request) string) *scripted {
	t.Helper()
	return scriptedServer(t, func(c *net.TCPConn, number int) {
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			a := answer(number, r)
			if a == "" {
				return
			}
			io.WriteString(c, a)
		}
	})
}

// saying answers with a body.
func saying(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func getting(target string) *call {
	return &call{method: []byte("GET"), target: []byte(target), host: []byte("socket.up")}
}

func posting(target, body string) *call {
	c := getting(target)
	c.method, c.body = []byte("POST"), []byte(body)
	return c
}

var quick = timeouts{connect: limit, head: limit, idle: limit, cont: time.Second, total: limit}

// linked connects a link to addr; it is closed when the test ends.
func linked(t testing.TB, addr string) *link {
	t.Helper()
	l, err := dialLink(t.Context(), addr, limit)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

var hosts atomic.Uint32

// freeAddr is an address where nobody listens, for a program to do so or to be
// refused. Another test could be given its port; therefore, where all of
// 127.0.0.0/8 is this machine, each call has a host of its own.
func freeAddr(t *testing.T) string {
	t.Helper()
	host := "127.0.0.1"
	if runtime.GOOS == "linux" {
		host = fmt.Sprintf("127.%d.%d.%d", 1+os.Getpid()>>8%250, os.Getpid()%256, 1+hosts.Add(1)%250)
	}
	l, err := net.Listen("tcp", host+":0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// readAll reads the body of r and closes it.
func readAll(r *answer) (string, error) {
	defer r.close()
	body, err := io.ReadAll(r)
	return string(body), err
}

// asked makes a call on p and reads its answer.
func asked(p *pool, addr string, c *call) (status int, body string, err error) {
	r, err := p.roundTrip(context.Background(), addr, c, &quick)
	if err != nil {
		return 0, "", err
	}
	status = r.status
	body, err = readAll(r)
	return status, body, err
}

// small is a pool with room for n links, without an evictor and with nothing
// that goes by itself.
func small(t testing.TB, n int) *pool {
	t.Helper()
	p := newPool(poolLimits{perBackend: n, total: n, wait: patience(), idle: time.Hour, life: 24 * time.Hour})
	t.Cleanup(p.close)
	return p
}
