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

// Serve starts one; it ends with the test.
func Serve(t testing.TB, script func(c *net.TCPConn, number int)) *Server {
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
		Finish(t, &accepting, "the listener's end") // or one that comes now is not closed
		s.CloseAll()
		Finish(t, &scripts, "the scripts of the test's own server end")
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

// Answering is a server that answers each request with what answer returns for
// it; "" closes the connection.
func Answering(t testing.TB, answer func(connection int, r *http.Request) string) *Server {
	t.Helper()
	return Serve(t, func(c *net.TCPConn, number int) {
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

// Polite is a server that answers every request with hello.
func Polite(t testing.TB) *Server {
	return Answering(t, func(int, *http.Request) string { return Saying("hello") })
}

// Saying answers with a body.
func Saying(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// Canned is the fastest server there is: it answers each read with the same bytes.
func Canned(b testing.TB) string {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, World!\n")
	return Serve(b, func(c *net.TCPConn, _ int) {
		in := make([]byte, 4<<10)
		for _, err := c.Read(in); err == nil; _, err = c.Read(in) {
			c.Write(answer)
		}
	}).Addr
}

// Dying answers the first request of each connection, and closes after it has
// read the second: so does a server whose idle timer goes off just then.
func Dying(t testing.TB) (s *Server, requests func(method string) int64) {
	t.Helper()
	counts := map[string]*atomic.Int64{"GET": {}, "POST": {}, "PUT": {}}
	s = Serve(t, func(c *net.TCPConn, _ int) {
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
			io.WriteString(c, Saying("ok"))
		}
	})
	return s, func(method string) int64 { return counts[method].Load() }
}

// Requests reads requests, and calls answer until that returns false.
func Requests(in *bufio.Reader, answer func(r *http.Request) bool) {
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

// SilentQueue is a listener whose queue is full: SYNs to it are not answered.
func SilentQueue(t testing.TB) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("a backlog of 0 means the maximum here: run this in a Linux container")
	}
	fd, err := socket.Listen("127.0.0.1:0", 0)
	require.NoError(t, err)
	l, err := socket.Park(fd)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	addr := socket.LocalAddr(fd).String()
	c, err := net.DialTimeout("tcp", addr, Limit)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return addr
}
