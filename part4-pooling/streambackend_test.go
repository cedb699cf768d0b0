package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/http1"
	"socketup/part4-pooling/http2"
	"socketup/part4-pooling/pool"
)

// A streamBackend is a backend that speaks HTTP/2, for the tests that judge a gateway in
// any language. It reads what a gateway sends, acknowledges SETTINGS and PING, and keeps
// the books of both windows; the test says what else it does. What it sends keeps to the
// windows, and a gateway that does not is reported.
type streamBackend struct {
	t          testing.TB
	rule, look string          // for failures
	settings   []http2.Setting // sent on each connection
	requests   chan *streamRequest
	wrong      chan string // what a gateway did against the rules

	mu    sync.Mutex
	peers []*streamPeer
	seen  []string // the frames that arrived, for failures
}

// A streamPeer is one connection to a streamBackend.
type streamPeer struct {
	*net.TCPConn
	b        *streamBackend
	number   int               // counts from 1
	preamble []http2.FrameType // the first frames
	decoder  *http2.Decoder
	ended    chan bool // closed when the gateway has closed it

	mu          sync.Mutex
	changed     sync.Cond
	streams     map[uint32]*streamRequest
	firstWindow int // the gateway's SETTINGS_INITIAL_WINDOW_SIZE
	tableSize   int // its SETTINGS_HEADER_TABLE_SIZE
	window      int // what may be sent on the connection
	pings       int // acknowledgements of our PINGs
	acked       int // acknowledgements of our SETTINGS
}

// A streamRequest is a request that has arrived, as far as it has.
type streamRequest struct {
	*streamPeer
	id     uint32
	fields []http1.Field

	// The lock of the peer guards these:
	body    string
	longest int    // bytes of a DATA frame
	whole   bool   // END_STREAM has arrived
	done    bool   // our response is complete
	reset   string // the error code of RST_STREAM
	window  int    // what may be sent on the stream
	credit  int    // what the gateway may send on it
}

// startStreams returns the address of a gateway, and its backend: the gateway in $SERVER
// with the backend in $BACKEND, whose URL begins with h2c://, or this part's.
func startStreams(t testing.TB, rule, look string, settings ...http2.Setting) (addr string, b *streamBackend) {
	t.Helper()
	const h2c = "h2c://"
	at := judgedBackend(t)
	if at != "" && !strings.HasPrefix(at, h2c) {
		t.Skip("the backend of this gateway speaks HTTP/1.1: make judge STREAMS=1")
	}
	b = &streamBackend{t: t, rule: rule, look: look, settings: settings, requests: make(chan *streamRequest, 100), wrong: make(chan string, 100)}
	judged := at != ""
	at = strings.TrimPrefix(at, h2c)
	if at == "" {
		at = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", at)
	require.NoError(t, err)
	t.Cleanup(b.closeAll)
	t.Cleanup(func() { l.Close() })
	go b.accept(l) // until Close
	if judged {
		return startJudgedServer(t), b
	}
	p := pool.New(pool.DefaultLimits)
	t.Cleanup(p.Close)
	g := gateway.New(p, []gateway.Backend{{Path: "/", Addr: l.Addr().String(), Engine: true, HTTP2: true}})
	t.Cleanup(g.Streams.Close)
	return startServer(t, withOffload(g)).addr, b
}

func (b *streamBackend) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		p := &streamPeer{TCPConn: c.(*net.TCPConn), b: b, decoder: http2.NewDecoder(http2.DefaultTableSize, 64<<10), ended: make(chan bool),
			streams: map[uint32]*streamRequest{}, firstWindow: http2.DefaultWindow, window: http2.DefaultWindow, tableSize: http2.DefaultTableSize}
		p.changed.L = &p.mu
		b.mu.Lock()
		b.peers = append(b.peers, p)
		p.number = len(b.peers)
		b.mu.Unlock()
		go p.serve() // until the gateway, or closeAll, closes the connection
	}
}

// setting returns the value of a setting of the backend.
func (b *streamBackend) setting(id http2.SettingID, otherwise int) int {
	for _, s := range b.settings {
		if s.ID == id {
			return int(s.Value)
		}
	}
	return otherwise
}

// closeAll ends all connections, and waits until the gateway has seen it.
func (b *streamBackend) closeAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.peers {
		p.CloseWrite()
		select {
		case <-p.ended:
		case <-time.After(time.Second): // a gateway that keeps it has to find out later
		}
		p.Close()
	}
}

// connections returns how many there have been.
func (b *streamBackend) connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.peers)
}

// fail ends the test, and says which frames the gateway has sent.
func (b *streamBackend) fail(wrong string, args ...any) {
	b.t.Helper()
	b.mu.Lock()
	seen := b.seen[max(0, len(b.seen)-20):]
	b.mu.Unlock()
	b.t.Fatalf("%s\n  got:  %s\n  rule: %s\n  look: %s", fmt.Sprintf(wrong, args...), strings.Join(seen, ", "), b.rule, b.look)
}

// check fails the test if the gateway broke a rule that every connection keeps.
func (b *streamBackend) check() {
	b.t.Helper()
	select {
	case w := <-b.wrong:
		b.fail("%s", w)
	default:
	}
}

// request waits for the head of the next request.
func (b *streamBackend) request(what string) *streamRequest {
	b.t.Helper()
	select {
	case q := <-b.requests:
		return q
	case w := <-b.wrong:
		b.fail("%s", w)
	case <-time.After(patience()):
		failedWaits.Add(1)
		b.fail("no request arrives at the backend: %s", what)
	}
	return nil
}

// until waits until reached, which is called with the lock of the peer held, is true.
func (p *streamPeer) until(what string, reached func() bool) {
	p.b.t.Helper()
	if !p.reaches(patience(), reached) {
		failedWaits.Add(1)
		p.b.check()
		p.b.fail("this does not happen: %s", what)
	}
}

func (p *streamPeer) reaches(within time.Duration, reached func() bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	late := false
	timer := time.AfterFunc(within, func() { p.mu.Lock(); late = true; p.changed.Broadcast(); p.mu.Unlock() })
	defer timer.Stop()
	for !reached() && !late {
		p.changed.Wait()
	}
	return reached()
}

// serve reads what the gateway sends.
func (p *streamPeer) serve() {
	defer close(p.ended)
	hello := make([]byte, len(http2.Preface))
	if n, err := io.ReadFull(p, hello); err != nil || string(hello) != http2.Preface {
		if n > 0 {
			p.b.wrong <- fmt.Sprintf("the connection begins with %s, and not with the preface %q", clip(string(hello[:n])), http2.Preface)
		}
		return
	}
	p.Write(http2.AppendSettings(nil, p.b.settings...))
	var in []byte
	for buf := make([]byte, 64<<10); ; {
		n, err := p.Read(buf)
		if err != nil {
			return
		}
		in = append(in, buf[:n]...)
		for {
			f, n, refused := http2.ParseFrame(in, p.b.setting(http2.SettingMaxFrameSize, http2.DefaultMaxFrame))
			if refused != nil {
				p.b.wrong <- fmt.Sprintf("a frame is malformed: %v", refused)
				return
			}
			if n == 0 {
				break
			}
			p.note(f)
			p.handle(f)
			in = in[n:]
		}
	}
}

func (p *streamPeer) note(f http2.Frame) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	text := fmt.Sprintf("%v(%d)", f.Type, f.StreamID)
	if f.Type == http2.FrameData {
		text = fmt.Sprintf("DATA(%d, %d bytes)", f.StreamID, f.Length)
	}
	p.b.seen = append(p.b.seen, text)
	if len(p.preamble) < 2 {
		if p.preamble = append(p.preamble, f.Type); p.preamble[0] != http2.FrameSettings {
			p.b.wrong <- "the first frame is " + f.Type.String() + ", and not SETTINGS"
		}
	}
}

func (p *streamPeer) handle(f http2.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.changed.Broadcast()
	s := p.streams[f.StreamID]
	if s == nil && f.StreamID != 0 && f.Type != http2.FrameHeaders && f.Type != http2.FramePriority {
		p.b.wrong <- fmt.Sprintf("%v on stream %d, which was never opened", f.Type, f.StreamID)
		return
	}
	switch f.Type {
	case http2.FrameSettings:
		p.onSettings(f)
	case http2.FramePing:
		if f.Flags&http2.FlagAck == 0 {
			p.Write(http2.AppendPing(nil, true, f.Payload))
		} else if string(f.Payload) == pingText {
			p.pings++
		}
	case http2.FrameWindowUpdate:
		if s != nil {
			s.window += int(f.WindowIncrement())
		} else {
			p.window += int(f.WindowIncrement())
		}
	case http2.FrameHeaders:
		p.onHeaders(f)
	case http2.FrameData:
		s.body += string(f.Payload)
		s.longest = max(s.longest, f.Length)
		s.whole = f.Flags&http2.FlagEndStream != 0
		if s.credit -= f.Length; s.credit < 0 {
			p.b.wrong <- fmt.Sprintf("stream %d has %d bytes of DATA more than its window allows", f.StreamID, -s.credit)
		}
	case http2.FrameRSTStream:
		s.reset = f.Code().String()
	}
}

const pingText = "judgment"

func (p *streamPeer) onSettings(f http2.Frame) {
	if f.Flags&http2.FlagAck != 0 {
		p.acked++
		return
	}
	for id, value := range f.EachSetting {
		switch id {
		case http2.SettingInitialWindowSize:
			p.firstWindow = int(value)
		case http2.SettingHeaderTableSize:
			p.tableSize = int(value)
		}
	}
	p.Write(http2.AppendSettingsAck(nil))
}

func (p *streamPeer) onHeaders(f http2.Frame) {
	if s := p.streams[f.StreamID]; s != nil { // trailers
		_, refused := p.decoder.Decode(f.Payload, nil)
		if s.whole = true; refused != nil {
			p.b.wrong <- "the trailers cannot be decoded: " + refused.Error()
		}
		return
	}
	fields, refused := p.decoder.Decode(f.Payload, nil)
	switch {
	case f.Flags&http2.FlagEndHeaders == 0:
		p.b.wrong <- "a small head comes in several frames: this backend does not read that"
		return
	case refused != nil:
		p.b.wrong <- "a header block cannot be decoded: " + refused.Error()
		return
	case f.StreamID%2 == 0:
		p.b.wrong <- fmt.Sprintf("a client opens stream %d: its streams have odd numbers", f.StreamID)
	}
	s := &streamRequest{streamPeer: p, id: f.StreamID, whole: f.Flags&http2.FlagEndStream != 0, window: p.firstWindow, credit: p.b.setting(http2.SettingInitialWindowSize, http2.DefaultWindow)}
	for _, f := range fields {
		s.fields = append(s.fields, http1.Field{Name: []byte(string(f.Name)), Value: []byte(string(f.Value))})
	}
	p.streams[f.StreamID] = s
	if n, limit := p.open(), p.b.setting(http2.SettingMaxConcurrentStreams, 0); limit > 0 && n > limit && p.acked > 0 {
		p.b.wrong <- fmt.Sprintf("connection %d has %d streams at a time: the backend allows %d", p.number, n, limit)
	}
	p.b.requests <- s
}

// open returns how many streams wait for a response. The caller holds the lock.
func (p *streamPeer) open() (n int) {
	for _, s := range p.streams {
		if !s.done && s.reset == "" {
			n++
		}
	}
	return n
}

// settle waits until the gateway has read all that was sent so far: it acknowledges SETTINGS.
func (p *streamPeer) settle() {
	p.b.t.Helper()
	p.mu.Lock()
	before := p.acked
	p.mu.Unlock()
	p.Write(http2.AppendSettings(nil))
	p.until("the gateway acknowledges our SETTINGS", func() bool { return p.acked > before })
}

// field returns the value of a field of the request, "" without it.
func (q *streamRequest) field(name string) string {
	for _, f := range q.fields {
		if string(f.Name) == name {
			return string(f.Value)
		}
	}
	return ""
}

// head sends the head of a response, with fields as "name: value".
func (q *streamRequest) head(end bool, fields ...string) {
	var block []byte
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		block = http2.AppendField(block, []byte(name), []byte(value))
	}
	q.mu.Lock()
	q.done = end
	q.mu.Unlock()
	q.Write(http2.AppendHeaders(nil, q.id, block, end, http2.DefaultMaxFrame))
}

// send sends a piece of a body as far as the windows allow, and waits until they allow
// more. It returns how much it could send before the gateway gave no more window for wait.
func (q *streamRequest) send(body string, end bool, wait time.Duration) (sent int) {
	for {
		n := 0
		ok := q.reaches(wait, func() bool {
			n = min(len(body)-sent, q.window, q.streamPeer.window, http2.DefaultMaxFrame)
			return n > 0 || sent == len(body) || q.reset != ""
		})
		if !ok || q.reset != "" {
			return sent
		}
		var flags http2.Flags
		q.mu.Lock()
		if q.done = end && sent+n == len(body); q.done {
			flags = http2.FlagEndStream
		}
		q.mu.Unlock()
		q.Write(append(http2.AppendFrameHeader(nil, n, http2.FrameData, flags, q.id), body[sent:sent+n]...))
		q.mu.Lock()
		q.window -= n
		q.streamPeer.window -= n
		q.mu.Unlock()
		if sent += n; sent == len(body) {
			return sent
		}
	}
}

// respond sends a whole response.
func (q *streamRequest) respond(body string) {
	q.b.t.Helper()
	q.head(false, ":status: 200", fmt.Sprintf("content-length: %d", len(body)))
	if n := q.send(body, true, patience()); n < len(body) {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.b.fail("the backend has sent %d of %d bytes, and may send no more: the window of stream %d is %d, that of the connection %d",
			n, len(body), q.id, q.window, q.streamPeer.window)
	}
}

// await waits until the gateway has handled all that was sent so far: it acknowledges a PING.
func (p *streamPeer) await() {
	p.b.t.Helper()
	p.mu.Lock()
	before := p.pings
	p.mu.Unlock()
	p.Write(http2.AppendPing(nil, false, []byte(pingText)))
	p.until("the gateway answers a PING with the same 8 bytes", func() bool { return p.pings > before })
	p.b.check()
}
