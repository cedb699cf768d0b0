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

// A Server server does what a test says, byte by byte: for each connection
// that it accepts it calls the script with the connection's number, from 1.
type Server struct {
	Addr  string
	mu    sync.Mutex
	count int
	open  map[net.Conn]bool
}

// ServeScript starts one; it ends with the test.
func ServeScript(t testing.TB, script func(c *net.TCPConn, number int)) *Server {
	t.Helper()
	if os.Getenv("SERVER") != "" {
		t.Skip("about our own programs, not about the one in $SERVER")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &Server{Addr: l.Addr().String(), open: map[net.Conn]bool{}}
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
		WaitGroup(t, &accepting, "the listener's end") // or one that comes now is not closed
		s.CloseAll()
		WaitGroup(t, &scripts, "the scripts of the test's own server end")
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

// CloseAll closes all connections under the feet of their scripts.
func (s *Server) CloseAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Close()
	}
}

func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// ServeResponses is a server that answers each request with what answer returns for
// it; "" closes the connection.
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

// ServePolite is a server that answers every request with hello.
func ServePolite(t testing.TB) *Server {
	return ServeResponses(t, func(int, *http.Request) string { return Response200("hello") })
}

// Response200 answers with a body.
func Response200(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// ServeCanned is the fastest server there is: it answers each read with the same bytes.
func ServeCanned(b testing.TB) string {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, World!\n")
	return ServeScript(b, func(c *net.TCPConn, _ int) {
		in := make([]byte, 4<<10)
		for _, err := c.Read(in); err == nil; _, err = c.Read(in) {
			c.Write(answer)
		}
	}).Addr
}

// ServeThenDie answers the first request of each connection, and closes after it has
// read the second: so does a server whose idle timer goes off just then.
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

// ReadRequests reads requests, and calls answer until that returns false.
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

// FreeAddr is an address where nobody listens, for a program to do so or to be
// refused. Another test could be given its port; therefore, where all of
// 127.0.0.0/8 is this machine, each call has a host of its own.
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

// UnresponsiveAddr is a listener whose queue is full: SYNs to it are not answered.
func UnresponsiveAddr(t testing.TB) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("a backlog of 0 means the maximum here: run this in a Linux container")
	}
	fd, err := socket.Listen("127.0.0.1:0", 0)
	require.NoError(t, err)
	l, err := socket.NewFD(fd)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	addr := socket.LocalAddr(fd).String()
	c, err := net.DialTimeout("tcp", addr, MaxWait)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return addr
}
