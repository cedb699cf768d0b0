package backends

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

const (
	preface      = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeaders = 1
	frameGoaway  = 7
)

// A Tap is a relay between a gateway and a backend that counts what shows that HTTP/2
// is spoken, and how. It changes no byte.
type Tap struct {
	Addr        string
	Connections atomic.Int64 // of the gateway that began with HTTP/2's preface
	Others      atomic.Int64 // that began with anything else
	Streams     atomic.Int64 // HEADERS frames of the gateway: requests and their trailers
	Goaways     atomic.Int64 // connections on which the backend has sent GOAWAY

	listener net.Listener
	backend  string
	relays   sync.WaitGroup
	mu       sync.Mutex
	open     map[net.Conn]bool // nil after Close
}

// NewTap starts a relay to the address of a backend.
func NewTap(backend string) (*Tap, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &Tap{Addr: l.Addr().String(), listener: l, backend: backend, open: map[net.Conn]bool{}}
	t.relays.Go(t.accept)
	return t, nil
}

// Close ends all connections and waits for the relays.
func (t *Tap) Close() {
	t.listener.Close()
	t.mu.Lock()
	for c := range t.open {
		c.Close()
	}
	t.open = nil
	t.mu.Unlock()
	t.relays.Wait()
}

func (t *Tap) accept() {
	for {
		c, err := t.listener.Accept()
		if err != nil {
			return
		}
		t.relays.Go(func() { t.relay(c.(*net.TCPConn)) })
	}
}

// relay lives until both directions have ended.
func (t *Tap) relay(gateway *net.TCPConn) {
	c, err := net.Dial("tcp4", t.backend)
	if err != nil || !t.keep(gateway, c) {
		gateway.Close()
		return
	}
	defer t.forget(gateway, c)
	backend := c.(*net.TCPConn)
	var down sync.WaitGroup
	down.Go(func() { pass(backend, gateway, t.countDown) })
	pass(gateway, backend, t.countUp)
	down.Wait()
}

func (t *Tap) keep(pair ...net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range pair {
		if t.open == nil {
			c.Close()
			continue
		}
		t.open[c] = true
	}
	return t.open != nil
}

func (t *Tap) forget(pair ...net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range pair {
		c.Close()
		delete(t.open, c)
	}
}

// pass copies one direction, and shows a copy of it to count.
func pass(from, to *net.TCPConn, count func(*bufio.Reader)) {
	see, show := io.Pipe()
	var counting sync.WaitGroup
	counting.Go(func() {
		count(bufio.NewReader(see))
		io.Copy(io.Discard, see)
	})
	io.Copy(io.MultiWriter(to, show), from)
	show.Close()
	counting.Wait()
	to.CloseWrite()
}

func (t *Tap) countUp(r *bufio.Reader) {
	begin := make([]byte, len(preface))
	switch n, _ := io.ReadFull(r, begin); {
	case n == 0: // a connection that was not needed
		return
	case string(begin) != preface:
		t.Others.Add(1)
		return
	}
	t.Connections.Add(1)
	frames(r, func(kind byte) {
		if kind == frameHeaders {
			t.Streams.Add(1)
		}
	})
}

func (t *Tap) countDown(r *bufio.Reader) {
	gone := false
	frames(r, func(kind byte) {
		if kind == frameGoaway && !gone {
			gone = true
			t.Goaways.Add(1)
		}
	})
}

// frames calls f with the type of each frame.
func frames(r *bufio.Reader, f func(kind byte)) {
	head := make([]byte, 9) // length (3), type, flags, stream (4)
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			return
		}
		f(head[3])
		if _, err := r.Discard(int(binary.BigEndian.Uint32(head) >> 8)); err != nil {
			return
		}
	}
}
