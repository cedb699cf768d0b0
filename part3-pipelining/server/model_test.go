package server

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A model is a connection whose socket, handlers and clock are the test's. Every
// order of events is possible, and the laws (laws.go) are asked after each.
type model struct {
	t     *testing.T
	r     *rand.Rand
	c     *conn
	trace []string

	sent    bytes.Buffer // by the client, not read yet
	fin     bool         // the client has closed its side
	got     []byte       // by the client
	methods []string     // of its requests
	paths   []string

	running []*exchange // taken, and not finished
	turn    bool        // asked for, and not had
	events  bool        // to be told again
	finned  bool        // by the server
	over    bool        // the socket is closed
	reset   bool        // by the client
}

func newModel(t *testing.T, seed uint64) *model {
	l := DefaultLimits
	r := rand.New(rand.NewPCG(seed, 3))
	l.Pipeline = []int{1, 2, 3, 8}[r.IntN(4)]
	s := &Server{Limits: l, clock: newClock(), Log: slog.New(slog.DiscardHandler)}
	tr := newTransport(s, bystander{}, &sync.Mutex{}, &stock{}, -1, netip.Addr{})
	return &model{t: t, r: r, c: &tr.conn}
}

func (m *model) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\nafter:\n%s", fmt.Sprintf(format, args...), strings.Join(m.trace, "\n"))
}

// read is what a driver does when it may read: some bytes, none, or the end.
func (m *model) read() {
	room := m.c.room()
	switch {
	case len(room) == 0:
		m.c.received(0)
	case m.sent.Len() > 0:
		n, _ := m.sent.Read(room[:min(len(room), 1+m.r.IntN(200))])
		m.c.received(n)
		m.events = m.events || m.sent.Len() > 0 // the kernel would tell
	case m.fin:
		m.c.atEnd()
	default:
		m.c.drained()
	}
}

func (m *model) want(w want) {
	switch w {
	case wantRead:
		m.read()
	case wantDiscard:
		m.discard()
	}
	m.takeAll()
	m.act(false)
}

func (m *model) takeAll() {
	if m.c.turn != looking {
		return
	}
	for n := 0; ; n++ {
		if n == 3 && m.c.takesMore() {
			m.c.yield()
			return
		}
		x := m.c.take()
		if x == nil {
			break
		}
		m.note("taken: request %d", x.number)
		m.running = append(m.running, x)
	}
	m.c.pause()
}

func (m *model) discard() {
	if m.c.end != lingering {
		return
	}
	if m.sent.Len() > 0 {
		n := m.sent.Len()
		m.sent.Reset()
		m.c.discarded(n)
	} else if m.fin {
		m.c.fail(nil)
	}
}

// act does what the connection asks for. The client takes as much as it likes,
// or all of it.
func (m *model) act(all bool) {
	for {
		do, ok := m.c.next()
		if !ok {
			break
		}
		switch do {
		case doWrite:
			m.write(all)
		case askTurn:
			m.turn = true
		case askEvents:
			m.events = true
		case askLook:
			m.read()
			m.c.looked()
		case doFIN:
			m.finned = true
			m.note("server: FIN")
			m.discard()
		case doClose:
			m.over = true
			m.note("server: close")
		}
	}
	if err := laws(m.c); err != nil {
		m.fail("law: %v", err)
	}
}

func (m *model) write(all bool) {
	b := m.c.out.unsent
	switch n := m.r.IntN(4); {
	case all || n == 0:
		m.got = append(m.got, b...)
		m.c.wrote(len(b))
	case n == 1:
		some := m.r.IntN(len(b) + 1)
		m.got = append(m.got, b[:some]...)
		m.c.wrote(some)
	case n == 2:
		m.c.heard(false) // before the write has returned
		m.c.out.refused()
	default:
		m.c.out.refused()
		m.note("the kernel has no room")
	}
}

// head is the exchange whose handler may do what needs its turn.
func (m *model) may(x *exchange) bool {
	return !x.alone || m.c.line.head == &x.slot || x.expired || m.c.end != open
}

// finish lets the handler number i return.
func (m *model) finish(i int) {
	x := m.running[i]
	if !m.may(x) {
		return
	}
	m.running = append(m.running[:i], m.running[i+1:]...)
	m.note("handler of %s returns", x.req.Target)
	if x.refused == nil && x.alone && m.c.end == open && !x.expired {
		m.body(x)
	}
	if x.refused == nil && !x.expired {
		x.res.WriteString(fmt.Sprintf("I am %s%s", x.req.Target, strings.Repeat(".", m.r.IntN(2)*m.r.IntN(30_000))))
	}
	if x.refused != nil {
		x.last = true
		x.wire = x.plain(x.refused, true)
	} else if !x.expired {
		x.wire = x.res.finish(x.wire[:0])
	}
	m.c.finish(x)
	m.act(false)
}

func (m *model) step() {
	switch m.r.IntN(12) {
	case 0, 1, 2:
		m.send()
	case 3, 4:
		m.events = false
		if m.c.end != closed {
			m.want(m.c.heard(m.fin && m.r.IntN(2) == 0))
		}
	case 5, 6:
		if m.turn {
			m.turn = false
			m.want(m.c.turnBegins())
		}
	case 7, 8:
		if len(m.running) > 0 {
			m.finish(m.r.IntN(len(m.running)))
		}
	case 9:
		m.streams()
	case 10:
		m.pass(time.Duration(m.r.IntN(300)) * time.Millisecond)
	case 11:
		switch m.r.IntN(30) {
		case 0:
			m.fin = true
			m.note("client: FIN")
		case 1:
			m.note("client: reset")
			m.reset = true
			m.c.fail(errReset)
			m.act(false)
		case 2:
			m.note("stop")
			m.c.srv.stopping.Store(true)
			m.c.srv.stopped.Store(max(1, m.c.srv.clock.now()))
		case 3:
			m.note("a long time")
			m.pass(time.Minute)
		}
	}
}

// settle lets everybody do what is left: handlers return, and the client takes all.
func (m *model) settle() {
	m.note("all goes on")
	for round := 0; round < 10_000; round++ {
		noted := len(m.trace)
		busy := m.turn || m.events || len(m.running) > 0 || m.c.out.state == blocked
		m.events = false
		if m.c.end != closed {
			m.want(m.c.heard(m.fin))
		}
		if m.turn {
			m.turn = false
			m.want(m.c.turnBegins())
		}
		for i := len(m.running) - 1; i >= 0; i-- {
			m.finish(i)
		}
		m.act(true)
		if !busy && !m.turn && !m.events && m.sent.Len() == 0 && noted == len(m.trace) && len(m.running) == 0 {
			return
		}
		if m.over && len(m.running) == 0 {
			return
		}
	}
	m.fail("it never comes to rest: intake %d, turn %d, output %d, end %d", m.c.intake, m.c.turn, m.c.out.state, m.c.end)
}

// Seeded: a failure names its seed, and prints the events that led to it.
func TestEveryOrderOfEventsKeepsTheLaws(t *testing.T) {
	ours(t)
	const seeds, steps = 3000, 120
	for seed := range uint64(seeds) {
		m := newModel(t, seed)
		m.note("seed %d, pipeline %d", seed, m.c.srv.Limits.Pipeline)
		for range steps {
			if m.step(); m.over {
				break
			}
			held := len(m.c.in.bytes())
			if m.c.out.next != nil {
				held += len(m.c.out.next.b)
			}
			require.LessOrEqual(t, held, m.c.srv.Limits.PerConnection(), "seed %d", seed)
		}
		if !m.reset {
			m.settle()
			m.answers()
		}
		for i := 0; i < 5 && m.c.end != closed; i++ { // all times are over
			m.pass(time.Hour)
			m.settle()
		}
		if m.c.end != closed {
			m.fail("the connection is never closed: intake %d, turn %d, output %d, end %d", m.c.intake, m.c.turn, m.c.out.state, m.c.end)
		}
	}
}
