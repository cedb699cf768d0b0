package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/socket"
)

// A poolModel plays a pool's callers, servers and clock, one step after the
// other, and checks every invariant after each step. The connections are real
// sockets, so the idle checks are real too; nothing waits, and nothing is left to
// the scheduler.
type poolModel struct {
	t        testing.TB
	p        *Pool
	clock    time.Time
	choose   func(n int) int // a number below n
	leased   []*Lease
	dialling []pendingDial
	waiters  []*waiter
	lines    []*Line              // one for each of clientLines
	numbers  map[*Lease]uint64    // of the request that has it, in its line
	links    []*client.Conn       // all that were ever dialled
	peers    map[*client.Conn]int // the server's end; -1 once closed
	addrs    map[*client.Conn]string
	before   map[*backend]int // permits in use after the last step
	history  []string

	suspended  []suspendedRequest // giveback_test.go
	askedAgain map[modelRequest]bool
	told       map[*Lease]bool // leases whose holders were told to give them back
}

type pendingDial struct {
	b      *backend
	g      grant
	number uint64
}

var (
	places      = []string{"a", "b", "c"}
	modelClient = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	clientLines = []int{0, 0, 1, 1} // the client of each line
)

func newPoolModel(t testing.TB, choose func(int) int) *poolModel {
	m := &poolModel{t: t, choose: choose, clock: time.Unix(1e9, 0), peers: map[*client.Conn]int{}, addrs: map[*client.Conn]string{}, numbers: map[*Lease]uint64{}, before: map[*backend]int{}, askedAgain: map[modelRequest]bool{}, told: map[*Lease]bool{}}
	m.p = New(Limits{PerBackend: 2 + choose(6), Total: 3 + choose(9), Queue: 3 * choose(3), OneClient: choose(4) == 0, IdleTime: 10 * time.Second, Spare: time.Duration(choose(3)) * time.Second, Lifetime: time.Minute, Quarantine: time.Duration(choose(2)) * 5 * time.Second})
	m.p.Now = func() time.Time { return m.clock }
	m.p.Dial = m.dial
	for range clientLines {
		m.lines = append(m.lines, &Line{})
	}
	return m
}

// dial returns one end of a socket pair.
func (m *poolModel) dial(_ context.Context, addr string, _ time.Duration) (*client.Conn, error) {
	if m.choose(4) == 0 {
		return nil, errors.New("refused")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(m.t, err)
	unix.CloseOnExec(pair[1])
	require.NoError(m.t, unix.SetNonblock(pair[1], true)) // the pool reads little: a server that says much must not stop the model
	end, err := socket.NewFD(pair[0])
	require.NoError(m.t, err)
	l := client.NewConn(end, addr)
	m.links, m.peers[l], m.addrs[l] = append(m.links, l), pair[1], addr
	return l, nil
}

func (m *poolModel) note(format string, args ...any) {
	m.history = append(m.history, fmt.Sprintf(format, args...))
}

func (m *poolModel) step() {
	switch m.choose(15) {
	case 0, 1, 2, 3:
		m.reserve(places[m.choose(len(places))])
	case 4, 5, 6:
		m.put()
	case 7:
		m.finishDial()
	case 8:
		m.giveUp()
	case 9:
		m.breakSomething()
	case 10:
		m.clock = m.clock.Add(time.Duration(m.choose(8)) * time.Second)
		m.note("the clock advances to %d", m.clock.Unix())
	case 11:
		m.note("evict")
		m.p.evict()
	case 12:
		addr := places[m.choose(len(places))]
		m.note("DropAll %s", addr)
		m.p.DropAll(addr)
	case 13, 14:
		m.waitForTurn()
	}
	m.collectGrants()
	m.check()
}

// reserve is a caller that asks for a connection.
func (m *poolModel) reserve(addr string) {
	var who netip.Addr
	var line *Line
	i := m.choose(len(m.lines) + 1)
	if i < len(m.lines) {
		who, line = modelClient[clientLines[i]], m.lines[i]
	}
	at := m.p.Reserve(addr, who, line)
	m.note("Reserve %s in line %d: connection %v, must wait %v, %v", addr, i, at.grant.lease != nil, at.waiter != nil, at.grant.err)
	switch {
	case at.waiter != nil:
		m.waiters = append(m.waiters, at.waiter)
	case at.grant.err != nil:
		m.require(m.p.Limits.Queue > 0 && errors.Is(at.grant.err, ErrQueueFull), "a reservation fails although the queue has room: %v", at.grant.err)
	default:
		m.require(line == nil || line.suspended == 0, "a request takes a permit although an earlier one of its line has given its own back: %s", ruleGiveBack)
		m.granted(at.backend, at.grant, at.Number)
	}
}

// granted uses a grant as checkOrDial does, but dials later.
func (m *poolModel) granted(b *backend, g grant, number uint64) {
	if errors.Is(g.err, ErrQueueFull) {
		m.note("the queue of %s has no room for it", b.addr)
		return
	}
	for l := g.lease; l != nil; l = g.lease {
		err := l.CheckIdle()
		if err == nil {
			m.leased = append(m.leased, l)
			m.numbers[l] = number
			return
		}
		m.note("the connection fails its check")
		g = m.p.replace(l, err)
	}
	m.dialling = append(m.dialling, pendingDial{b, g, number})
}

func (m *poolModel) finishDial() {
	if len(m.dialling) == 0 {
		return
	}
	d := pick(m, &m.dialling)
	l, err := m.p.dialPermitted(m.t.Context(), d.b, d.g, &testTimeouts)
	m.note("a dial of %s ends: %v", d.b.addr, err)
	if err == nil {
		l.Requests = 1
		m.leased = append(m.leased, l)
		m.numbers[l] = d.number
	}
}

func (m *poolModel) put() {
	if len(m.leased) == 0 {
		return
	}
	l, good := pick(m, &m.leased), m.choose(4) > 0
	good = good && !m.told[l]
	m.note("a connection to %s is returned, good %v", l.backend.addr, good)
	m.p.put(l, good)
}

// giveUp is a caller that stops waiting.
func (m *poolModel) giveUp() {
	if len(m.waiters) == 0 {
		return
	}
	w := pick(m, &m.waiters)
	m.note("a waiter for %s gives up", w.backend.addr)
	if g := m.p.giveUp(w, os.ErrDeadlineExceeded); g.err == nil {
		m.granted(w.backend, g, w.number)
	}
}

// breakSomething is a server that closes a connection or sends unsolicited bytes.
func (m *poolModel) breakSomething() {
	if len(m.links) == 0 {
		return
	}
	l := m.links[m.choose(len(m.links))]
	peer := m.peers[l]
	switch {
	case l.Owner.(*Lease).state == leaseClosed || peer < 0:
	case m.choose(2) == 0:
		unix.Close(peer)
		m.peers[l] = -1
		m.note("a server of %s closes", m.addrs[l])
	case m.choose(2) == 0:
		unix.Write(peer, []byte("HTTP/1.1 408 Request Timeout\r\n\r\n"))
		m.note("a server of %s sends a 408", m.addrs[l])
	default:
		unix.Write(peer, []byte("HTTP/1.1 200 OK\r\n\r\n"))
		m.note("a server of %s sends an unsolicited 200", m.addrs[l])
	}
}

// collectGrants takes delivered grants, sooner or later: a waiter may give up
// after the delivery and before it looks.
func (m *poolModel) collectGrants() {
	m.waiters = slices.DeleteFunc(m.waiters, func(w *waiter) bool {
		if m.choose(3) == 0 {
			return false
		}
		select {
		case g := <-w.ready:
			m.note("a waiter for %s is served", w.backend.addr)
			m.granted(w.backend, g, w.number)
			return true
		default:
			return false
		}
	})
}

// pick removes a random element from a list and returns it.
func pick[T any](m *poolModel, list *[]T) T {
	i := m.choose(len(*list))
	x := (*list)[i]
	*list = slices.Delete(*list, i, i+1)
	return x
}

// String returns the last steps.
func (m *poolModel) String() string {
	text := "the last steps were:\n"
	for _, line := range m.history[max(0, len(m.history)-12):] {
		text += "  " + line + "\n"
	}
	return text
}

// end closes the pool, returns everything, and checks that nothing is left.
func (m *poolModel) end() {
	m.note("close")
	m.p.Close()
	for _, w := range m.waiters {
		m.require(len(w.ready) == 1, "Close left a caller waiting")
		if g := <-w.ready; g.err == nil {
			m.granted(w.backend, g, w.number)
		} else if !errors.Is(g.err, ErrQueueFull) {
			m.require(errors.Is(g.err, ErrClosed), "Close failed a waiter with: %v", g.err)
		}
	}
	for len(m.suspended) > 0 {
		m.askAgain(0)
	}
	for len(m.dialling) > 0 {
		m.finishDial()
	}
	for len(m.leased) > 0 {
		m.put()
	}
	m.require(m.p.permits == 0, "%d permits were never released", m.p.permits)
	m.require(m.p.inUse == 0, "%d permits are still in use", m.p.inUse)
	m.p.sweepAccounts()
	m.require(len(m.p.clients) == 0, "accounts of clients that have nothing are left: %v", m.p.clients)
	for _, l := range m.links {
		m.require(l.Owner.(*Lease).state == leaseClosed, "a connection to %s was never closed", m.addrs[l])
		if peer := m.peers[l]; peer >= 0 {
			unix.Close(peer)
		}
	}
}

func TestPoolModelHoldsItsInvariants(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 4))
		m := newPoolModel(t, random.IntN)
		for range 250 {
			m.step()
		}
		m.end()
	}
}

func FuzzPool(f *testing.F) {
	f.Add([]byte{0, 0, 0, 4, 1, 2, 7, 7, 4, 4})
	f.Fuzz(func(t *testing.T, script []byte) {
		m := newPoolModel(t, func(n int) int {
			if len(script) == 0 {
				return 0
			}
			c := int(script[0]) % n
			script = script[1:]
			return c
		})
		for len(script) > 0 {
			m.step()
		}
		m.choose = func(int) int { return 0 }
		m.end()
	})
}
