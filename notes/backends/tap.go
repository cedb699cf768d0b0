package backends

import (
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
	framePreface = 255 // no frame's type
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
	down.Go(func() { pass(backend, gateway, &frames{see: t.seeBackend()}) })
	pass(gateway, backend, &frames{prefaced: true, see: t.seeGateway, other: func() { t.Others.Add(1) }})
	down.Wait()
}

func (t *Tap) seeGateway(kind byte) {
	switch kind {
	case framePreface:
		t.Connections.Add(1)
	case frameHeaders:
		t.Streams.Add(1)
	}
}

func (t *Tap) seeBackend() func(byte) {
	first := true
	return func(kind byte) {
		if kind == frameGoaway && first {
			first = false
			t.Goaways.Add(1)
		}
	}
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

// pass copies one direction. Frames are counted before they are passed on.
func pass(from, to *net.TCPConn, f *frames) {
	io.Copy(io.MultiWriter(f, to), from)
	to.CloseWrite()
}

// Frames are those of one direction of a connection, as it is written to them.
type frames struct {
	prefaced bool            // the preface is still to come
	see      func(kind byte) // is called for each frame
	other    func()          // is called once if this is not HTTP/2
	head     []byte          // of the next frame, as far as it has arrived
	skip     int             // bytes of a payload that are still to come
}

func (f *frames) Write(p []byte) (int, error) {
	size := len(p)
	for len(p) > 0 && f.see != nil {
		if n := min(f.skip, len(p)); n > 0 {
			f.skip -= n
			p = p[n:]
			continue
		}
		want := 9 // length (3), type, flags, stream (4)
		if f.prefaced {
			want = len(preface)
		}
		n := min(want-len(f.head), len(p))
		f.head = append(f.head, p[:n]...)
		if p = p[n:]; len(f.head) == want {
			f.whole()
		}
	}
	return size, nil
}

// whole takes a whole head of a frame, or the preface.
func (f *frames) whole() {
	switch {
	case !f.prefaced:
		f.skip = int(binary.BigEndian.Uint32(f.head) >> 8)
		f.see(f.head[3])
	case string(f.head) == preface:
		f.prefaced = false
		f.see(framePreface)
	default:
		f.see = nil
		f.other()
	}
	f.head = f.head[:0]
}
