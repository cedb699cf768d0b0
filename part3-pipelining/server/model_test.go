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

// A model is a connection whose socket, handlers and clock are the test's. Every order of
// events is possible, and the laws (laws_test.go) are checked after each.
type model struct {
	t     *testing.T
	r     *rand.Rand
	c     *conn
	trace []string

	sent    bytes.Buffer // by the client, and not read yet
	fin     bool         // the client has closed its side
	got     []byte       // received by the client
	methods []string     // of its requests
	paths   []string

	running     []*exchange // taken; the handler has not returned
	turnQueued  bool        // actionTurn was requested
	events      bool        // the kernel will report an event
	finReceived bool        // the server has sent FIN
	inputEnded  bool        // the socket is closed
	reset       bool        // the client has reset the connection
}

func newModel(t *testing.T, seed uint64) *model {
	l := DefaultLimits
	r := rand.New(rand.NewPCG(seed, 3))
	l.Pipeline = []int{1, 2, 3, 8}[r.IntN(4)]
	l.WaitingMemory = l.slotMemory() * []int64{0, 1, 4, 1000}[r.IntN(4)]
	s := &Server{Limits: l, clock: newClock(), Log: slog.New(slog.DiscardHandler)}
	tr := newTransport(s, noopDriver{}, &sync.Mutex{}, &exchangeCache{}, -1, netip.Addr{})
	return &model{t: t, r: r, c: &tr.conn}
}

func (m *model) note(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf(format, args...))
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\nafter:\n%s", fmt.Sprintf(format, args...), strings.Join(m.trace, "\n"))
}

// read does what a driver does on a readable socket: it reads some bytes, none, or EOF.
func (m *model) read() {
	room := m.c.readSpace()
	switch {
	case len(room) == 0:
		m.c.onRead(0)
	case m.sent.Len() > 0:
		n, _ := m.sent.Read(room[:min(len(room), 1+m.r.IntN(200))])
		m.c.onRead(n)
		m.events = m.events || m.sent.Len() > 0 // the kernel would report more
	case m.fin:
		m.c.onReadEOF()
	default:
		m.c.onReadBlocked()
	}
}

func (m *model) react(w reaction) {
	switch w {
	case reactRead:
		m.read()
	case reactDiscard:
		m.discard()
	}
	m.takeRequests()
	m.act(false)
}

func (m *model) takeRequests() {
	if m.c.turn != turnActive {
		return
	}
	for n := 0; ; n++ {
		if n == 3 && m.c.canTakeMore() {
			m.c.yieldTurn()
			return
		}
		x := m.c.takeRequest()
		if x == nil {
			break
		}
		m.note("taken: request %d", x.seq)
		m.running = append(m.running, x)
	}
	m.c.endTurn()
}

func (m *model) discard() {
	if m.c.closeState != lingering {
		return
	}
	if m.sent.Len() > 0 {
		n := m.sent.Len()
		m.sent.Reset()
		m.c.onDiscard(n)
	} else if m.fin {
		m.c.fail(nil)
	}
}

// act performs the connection's actions. The kernel accepts a random part of each write,
// or all of it.
func (m *model) act(all bool) {
	for {
		do, ok := m.c.nextAction()
		if !ok {
			break
		}
		switch do {
		case actionWrite:
			m.write(all)
		case actionTurn:
			m.turnQueued = true
		case actionRearm:
			m.events = true
		case actionIdleCheck:
			m.read()
			m.c.closeIfIdle()
		case actionFIN:
			m.finReceived = true
			m.note("server: FIN")
			m.discard()
		case actionClose:
			m.inputEnded = true
			m.note("server: close")
		}
	}
	if err := checkLaws(m.c); err != nil {
		m.fail("law: %v", err)
	}
}

func (m *model) write(all bool) {
	b := m.c.output.unsent
	switch n := m.r.IntN(4); {
	case all || n == 0:
		m.got = append(m.got, b...)
		m.c.onWritten(len(b))
	case n == 1:
		some := m.r.IntN(len(b) + 1)
		m.got = append(m.got, b[:some]...)
		m.c.onWritten(some)
	case n == 2:
		m.c.onEvent(false) // the event arrives before the write has returned
		m.c.output.onBlocked()
	default:
		m.c.output.onBlocked()
		m.note("the kernel has no room")
	}
}

// mayRun reports whether the handler of x may run: an exclusive one waits for the head of
// the queue.
func (m *model) mayRun(x *exchange) bool {
	return !x.exclusive || m.c.slots.head == &x.slot || x.expired || m.c.closeState != open
}

// finish makes handler i of running return.
func (m *model) finish(i int) {
	x := m.running[i]
	if !m.mayRun(x) {
		return
	}
	m.running = append(m.running[:i], m.running[i+1:]...)
	m.note("handler of %s returns", x.req.Target)
	if x.err == nil && x.exclusive && m.c.closeState == open && !x.expired {
		m.body(x)
	}
	if x.err == nil && !x.expired {
		x.res.WriteString(fmt.Sprintf("I am %s%s", x.req.Target, strings.Repeat(".", m.r.IntN(2)*m.r.IntN(30_000))))
	}
	if x.err != nil {
		x.closeAfter = true
		x.encoded = x.errorResponse(x.err, true)
	} else if !x.expired {
		x.encoded = x.res.finish(x.encoded[:0])
	}
	m.c.complete(x)
	m.act(false)
}

func (m *model) step() {
	switch m.r.IntN(12) {
	case 0, 1, 2:
		m.send()
	case 3, 4:
		m.events = false
		if m.c.closeState != closed {
			m.react(m.c.onEvent(m.fin && m.r.IntN(2) == 0))
		}
	case 5, 6:
		if m.turnQueued {
			m.turnQueued = false
			m.react(m.c.onTurn())
		}
	case 7, 8:
		if len(m.running) > 0 {
			m.finish(m.r.IntN(len(m.running)))
		}
	case 9:
		m.streamPart()
	case 10:
		m.advanceClock(time.Duration(m.r.IntN(300)) * time.Millisecond)
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
			m.c.srv.stoppedAt.Store(max(1, m.c.srv.clock.now()))
		case 3:
			m.note("a long time")
			m.advanceClock(time.Minute)
		}
	}
}

// settle runs the connection until nothing more happens: every handler returns, and the
// client reads everything.
func (m *model) settle() {
	m.note("everything runs to its end")
	for round := 0; round < 10_000; round++ {
		noted := len(m.trace)
		busy := m.turnQueued || m.events || len(m.running) > 0 || m.c.output.writeState == writeBlocked
		m.events = false
		if m.c.closeState != closed {
			m.react(m.c.onEvent(m.fin))
		}
		if m.turnQueued {
			m.turnQueued = false
			m.react(m.c.onTurn())
		}
		for i := len(m.running) - 1; i >= 0; i-- {
			m.finish(i)
		}
		m.act(true)
		if !busy && !m.turnQueued && !m.events && m.sent.Len() == 0 && noted == len(m.trace) && len(m.running) == 0 {
			return
		}
		if m.inputEnded && len(m.running) == 0 {
			return
		}
	}
	m.fail("it never comes to rest: inputState %d, turn %d, writeState %d, closeState %d", m.c.inputState, m.c.turn, m.c.output.writeState, m.c.closeState)
}

// The runs are seeded: a failure prints its seed and the events that led to it.
func TestEveryOrderOfEventsKeepsTheInvariants(t *testing.T) {
	skipIfJudging(t)
	const seeds, steps = 3000, 120
	for seed := range uint64(seeds) {
		m := newModel(t, seed)
		m.note("seed %d, pipeline %d", seed, m.c.srv.Limits.Pipeline)
		for range steps {
			if m.step(); m.inputEnded {
				break
			}
			held := len(m.c.input.bytes())
			if m.c.output.next != nil {
				held += len(m.c.output.next.b)
			}
			require.LessOrEqual(t, held, m.c.srv.Limits.PerConnection(), "seed %d", seed)
		}
		if !m.reset {
			m.settle()
			m.answers()
		}
		for i := 0; i < 5 && m.c.closeState != closed; i++ { // every time limit has passed
			m.advanceClock(time.Hour)
			m.settle()
		}
		if m.c.closeState != closed {
			m.fail("the connection is never closed: inputState %d, turn %d, writeState %d, closeState %d", m.c.inputState, m.c.turn, m.c.output.writeState, m.c.closeState)
		}
	}
}
