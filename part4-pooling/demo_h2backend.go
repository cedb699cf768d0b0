package main

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/socket"
)

// An h2Backend is the server of the streams' experiments. It speaks HTTP/2 to one kind of
// client, ours: it reads requests without bodies, and its own responses are short, so it
// needs no flow control. What it does it does by the rules: a request for /sleep/MS takes
// so long, and delays no other; one whose stream is reset gets no response.
type h2Backend struct {
	addr      string
	work      time.Duration // of a request for another path than /sleep/MS
	listener  socket.FD
	connected atomic.Int64 // connections, ever
	requests  atomic.Int64 // so far
	cancelled chan int64   // receives the number of each stream that is reset
}

func startH2Backend(work time.Duration) (*h2Backend, error) {
	fd, err := socket.Listen("127.0.0.1:0", backlog)
	if err != nil {
		return nil, err
	}
	l, err := socket.NewFD(fd)
	if err != nil {
		return nil, err
	}
	b := &h2Backend{addr: socket.LocalAddr(fd).String(), work: work, listener: l, cancelled: make(chan int64, 100)}
	go acceptEach(l, b.serve) // until close
	return b, nil
}

func (b *h2Backend) close() { b.listener.Close() }

// An h2Conn is a connection to an h2Backend.
type h2Conn struct {
	socket.FD
	backend *h2Backend
	decoder *http2.Decoder

	mu   sync.Mutex             // guards what follows; responses are written with it held, one at a time
	open map[uint32]*time.Timer // streams without a response
}

// serve reads frames until the client closes the connection.
func (b *h2Backend) serve(p socket.FD) {
	defer p.Close()
	b.connected.Add(1)
	unix.SetsockoptInt(p.Sysfd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // or the second response would wait for the ACK of the first
	c := &h2Conn{FD: p, backend: b, decoder: http2.NewDecoder(http2.DefaultTableSize, 16<<10), open: map[uint32]*time.Timer{}}
	preface := make([]byte, len(http2.Preface))
	if _, err := io.ReadFull(p, preface); err != nil || string(preface) != http2.Preface {
		return
	}
	c.Write(http2.AppendSettings(nil))
	var in []byte
	for buf := make([]byte, 32<<10); ; {
		n, err := p.Read(buf)
		if err != nil {
			return
		}
		if in, err = c.handleAll(append(in, buf[:n]...)); err != nil {
			return
		}
	}
}

// handleAll handles the frames in b, and returns what is left: the begin of another.
func (c *h2Conn) handleAll(b []byte) (rest []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		f, n, refused := http2.ParseFrame(b, http2.DefaultMaxFrame)
		if refused != nil {
			return nil, refused
		}
		if n == 0 {
			return b, nil
		}
		if err := c.handle(f); err != nil {
			return nil, err
		}
		b = b[n:]
	}
}

func (c *h2Conn) handle(f http2.Frame) error {
	switch f.Type {
	case http2.FrameHeaders:
		return c.begin(f)
	case http2.FrameRSTStream:
		if timer := c.open[f.StreamID]; timer != nil {
			timer.Stop()
			delete(c.open, f.StreamID)
			c.backend.cancelled <- int64(f.StreamID)
		}
	case http2.FrameSettings:
		if f.Flags&http2.FlagAck == 0 {
			c.Write(http2.AppendSettingsAck(nil))
		}
	case http2.FramePing:
		c.Write(http2.AppendPing(nil, true, f.Payload))
	}
	return nil
}

// begin begins to work on a request.
func (c *h2Conn) begin(f http2.Frame) error {
	fields, refused := c.decoder.Decode(f.Payload, nil)
	if refused != nil || f.Flags&http2.FlagEndHeaders == 0 {
		return errors.Join(errors.New("want a request in one frame"), refused)
	}
	c.backend.requests.Add(1)
	for _, field := range fields {
		if string(field.Name) == ":path" {
			path := string(field.Value)
			c.open[f.StreamID] = time.AfterFunc(workOf(path, c.backend.work), func() { c.respond(f.StreamID, path) })
		}
	}
	return nil
}

// respond sends a response that says which request it is for.
func (c *h2Conn) respond(id uint32, path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[id] == nil { // it was reset meanwhile
		return
	}
	delete(c.open, id)
	body := path + "\n"
	block := http2.AppendField(nil, []byte(":status"), []byte("200"))
	block = http2.AppendField(block, []byte("content-length"), strconv.AppendInt(nil, int64(len(body)), 10))
	b := http2.AppendHeaders(nil, id, block, false, http2.DefaultMaxFrame)
	b = http2.AppendFrameHeader(b, len(body), http2.FrameData, http2.FlagEndStream, id)
	c.Write(append(b, body...))
}

// workOf returns how long a request for /sleep/MS takes, and work for other paths.
func workOf(path string, work time.Duration) time.Duration {
	if ms, err := strconv.Atoi(strings.TrimPrefix(path, "/sleep/")); err == nil {
		return time.Duration(ms) * time.Millisecond
	}
	return work
}
