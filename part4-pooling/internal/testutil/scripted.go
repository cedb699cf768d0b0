package testutil

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/socket"
)

// A Server is a backend that does what a test says, byte by byte. For each
// connection that it accepts it calls a script, in a goroutine of its own, with
// the number of the connection, counted from 1. It closes the connection when the
// script returns.
type Server struct {
	Addr  string
	mu    sync.Mutex
	count int
	open  map[net.Conn]bool
}

// ServeScript starts a Server that runs script for each connection. The server, its
// connections and its scripts end with the test. It skips the test if $SERVER names
// another program to be tested, because the script is about ours.
func ServeScript(t testing.TB, script func(c *net.TCPConn, number int)) *Server {
	t.Helper()
	if os.Getenv("SERVER") != "" {
		t.Skip("tests our own program, not the one in $SERVER")
	}
	return ServeScriptAt(t, "127.0.0.1:0", script)
}

// ServeScriptAt is ServeScript at an address of the caller's choice, for our own
// program and for another.
func ServeScriptAt(t testing.TB, addr string, script func(c *net.TCPConn, number int)) *Server {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	s := &Server{Addr: l.Addr().String(), open: map[net.Conn]bool{}}
	var accepting, scripts sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			number := s.add(c) // before the script starts, so that numbers follow the order of accept
			scripts.Go(func() {
				script(c.(*net.TCPConn), number)
				c.Close()
				s.remove(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		WaitGroup(t, &accepting, "the accept loop ends") // first, or CloseAll would miss a connection
		s.CloseAll()
		WaitGroup(t, &scripts, "the server's scripts end")
	})
	return s
}

func (s *Server) add(c net.Conn) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = true
	s.count++
	return s.count
}

func (s *Server) remove(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// CloseAll closes all open connections while their scripts still run.
func (s *Server) CloseAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Close()
	}
}

// Accepted returns the number of connections accepted so far.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Open returns the number of connections whose scripts run.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// ServeResponses starts a Server that responds to each request with the bytes that
// answer returns; for "" it closes the connection. It has read the request body
// before it calls answer, which may run in several goroutines.
func ServeResponses(t testing.TB, answer func(connection int, r *http.Request) string) *Server {
	t.Helper()
	return ServeScript(t, func(c *net.TCPConn, number int) {
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

// ServePolite starts a Server that responds to every request with 200 and "hello".
func ServePolite(t testing.TB) *Server {
	return ServeResponses(t, func(int, *http.Request) string { return Response200("hello") })
}

// Response200 returns a 200 response with body, in wire format.
func Response200(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// ServeCanned starts a server for benchmarks, and returns its address. It sends the
// same 200 response for each read and parses nothing, so it is as fast as a server
// can be; it miscounts requests that arrive in pieces or together.
func ServeCanned(b testing.TB) string {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, World!\n")
	return ServeScript(b, func(c *net.TCPConn, _ int) {
		in := make([]byte, 4<<10)
		for _, err := c.Read(in); err == nil; _, err = c.Read(in) {
			c.Write(answer)
		}
	}).Addr
}

// ServeThenDie starts a Server that responds to the first request on each
// connection and closes the connection after it has read the second, like a
// server whose idle timer fires at that moment. requests returns how many
// requests with a method (GET, POST or PUT) it has read.
func ServeThenDie(t testing.TB) (s *Server, requests func(method string) int64) {
	t.Helper()
	counts := map[string]*atomic.Int64{"GET": {}, "POST": {}, "PUT": {}}
	s = ServeScript(t, func(c *net.TCPConn, _ int) {
		in := bufio.NewReader(c)
		for n := 0; ; n++ {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			counts[r.Method].Add(1)
			if n == 1 {
				return
			}
			io.WriteString(c, Response200("ok"))
		}
	})
	return s, func(method string) int64 { return counts[method].Load() }
}

// ReadRequests reads requests with their bodies from in, and calls answer for
// each, until it returns false or the input ends.
func ReadRequests(in *bufio.Reader, answer func(r *http.Request) bool) {
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, r.Body)
		if !answer(r) {
			return
		}
	}
}

var hosts atomic.Uint32

// FreeAddr returns a loopback address at which no program listens, for one to
// listen there or for a connect to be refused. Another test might get the same
// port, so where all of 127.0.0.0/8 is this machine (Linux) each call uses
// another host.
func FreeAddr(t *testing.T) string {
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

// UnresponsiveAddr returns the address of a listener whose accept queue is full:
// the kernel drops every SYN to it. It skips the test on systems other than
// Linux.
func UnresponsiveAddr(t testing.TB) string {
	t.Helper()
	return Unresponsive(t, "127.0.0.1:0")
}

// Unresponsive is UnresponsiveAddr at an address of the caller's choice.
func Unresponsive(t testing.TB, at string) (addr string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("a backlog of 0 means the maximum here: run this in a Linux container")
	}
	fd, err := socket.Listen(at, 0)
	require.NoError(t, err)
	l, err := socket.NewFD(fd)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	addr = socket.LocalAddr(fd).String()
	c, err := net.DialTimeout("tcp", addr, MaxWait)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return addr
}
