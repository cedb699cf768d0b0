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

// A poolModel plays a pool's callers, its servers and its clock, one step after the
// other, and looks at every invariant after each step. The connections are real
// sockets, so the checks are real too; nothing waits and nothing is left to
// the scheduler.
type poolModel struct {
	t        testing.TB
	p        *Pool
	clock    time.Time
	choose   func(n int) int // a number below n
	leased   []*Lease
	dialling []pendingDial
	waiters  []*waiter
	lines    []*Line              // of clientLines; nil for who has none
	numbers  map[*Lease]uint64    // in its holder's line
	links    []*client.Conn       // all there ever were
	peers    map[*client.Conn]int // the server's end; -1 when that is closed
	addrs    map[*client.Conn]string
	history  []string
}

type pendingDial struct {
	b      *backend
	g      grant
	number uint64
}

var (
	places      = []string{"a", "b", "c"}
	modelClient = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	clientLines = []int{0, 0, 1, 1} // whose they are
)

func newPoolModel(t testing.TB, choose func(int) int) *poolModel {
	m := &poolModel{t: t, choose: choose, clock: time.Unix(1e9, 0), peers: map[*client.Conn]int{}, addrs: map[*client.Conn]string{}, numbers: map[*Lease]uint64{}}
	m.p = New(Limits{PerBackend: 2 + choose(6), Total: 3 + choose(9), Queue: 3 * choose(3), OneClient: choose(4) == 0, IdleTime: 10 * time.Second, Lifetime: time.Minute, Quarantine: time.Duration(choose(2)) * 5 * time.Second})
	m.p.Now = func() time.Time { return m.clock }
	m.p.Dial = m.dial
	for range clientLines {
		m.lines = append(m.lines, &Line{})
	}
	return m
}

// dial makes a socket pair.
func (m *poolModel) dial(_ context.Context, addr string, _ time.Duration) (*client.Conn, error) {
	if m.choose(4) == 0 {
		return nil, errors.New("refused")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(m.t, err)
	unix.CloseOnExec(pair[1])
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
	switch m.choose(13) {
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
		m.note("the clock goes on to %d", m.clock.Unix())
	case 11:
		m.note("evict")
		m.p.evict()
	case 12:
		addr := places[m.choose(len(places))]
		m.note("drop all of %s", addr)
		m.p.DropAll(addr)
	}
	m.collectGrants()
	m.check()
}

// reserve is a caller who wants a connection.
func (m *poolModel) reserve(addr string) {
	var who netip.Addr
	var line *Line
	i := m.choose(len(m.lines) + 1)
	if i < len(m.lines) {
		who, line = modelClient[clientLines[i]], m.lines[i]
	}
	at := m.p.Reserve(addr, who, line)
	m.note("%s is asked for by %d: link %v, must wait %v, %v", addr, i, at.grant.lease != nil, at.waiter != nil, at.grant.err)
	switch {
	case at.waiter != nil:
		m.waiters = append(m.waiters, at.waiter)
	case at.grant.err != nil:
		m.require(m.p.Limits.Queue > 0 && errors.Is(at.grant.err, ErrQueueFull), "a request fails though there is no bound: %v", at.grant.err)
	default:
		m.granted(at.backend, at.grant, at.Number)
	}
}

// granted goes on with a grant, as use does, but dials later.
func (m *poolModel) granted(b *backend, g grant, number uint64) {
	if errors.Is(g.err, ErrQueueFull) {
		m.note("there is no room for it")
		return
	}
	for l := g.lease; l != nil; l = g.lease {
		err := l.CheckIdle()
		if err == nil {
			m.leased = append(m.leased, l)
			m.numbers[l] = number
			return
		}
		m.note("it fails its check")
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
	m.note("a link to %s comes back, good %v", l.backend.addr, good)
	m.p.put(l, good)
}

// giveUp is a caller who does not want to wait any longer.
func (m *poolModel) giveUp() {
	if len(m.waiters) == 0 {
		return
	}
	w := pick(m, &m.waiters)
	m.note("a waiter for %s leaves", w.backend.addr)
	if g := m.p.giveUp(w, os.ErrDeadlineExceeded); g.err == nil {
		m.granted(w.backend, g, w.number)
	}
}

// breakSomething is a server that closes, or sends what nobody asked for.
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
		m.note("a server of %s says that it is about to close", m.addrs[l])
	default:
		unix.Write(peer, []byte("HTTP/1.1 200 OK\r\n\r\n"))
		m.note("a server of %s says something", m.addrs[l])
	}
}

// collectGrants takes what has been delivered, sooner or later: a waiter may leave
// after something was delivered to him and before he looks.
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

// pick takes one out of a list.
func pick[T any](m *poolModel, list *[]T) T {
	i := m.choose(len(*list))
	x := (*list)[i]
	*list = slices.Delete(*list, i, i+1)
	return x
}

// check looks at the invariants.
func (m *poolModel) check() {
	p := m.p
	p.mu.Lock()
	defer p.mu.Unlock()
	permits, inUse, waiting, queued := 0, 0, 0, 0
	for _, w := range m.waiters {
		if w.queued {
			queued++
		}
	}
	for _, b := range p.backends {
		mine := len(b.idle)
		for _, l := range m.leased {
			if l.backend == b {
				mine++
			}
		}
		for _, d := range m.dialling {
			if d.b == b {
				mine++
			}
		}
		for _, w := range m.waiters {
			if w.backend == b && !w.queued && m.hasPermit(w) {
				mine++ // delivered, and not looked at yet
			}
		}
		m.require(b.permits == mine, "%s: %d permits are out, but %d links are in hand, delivered, idle or dialled", b.addr, b.permits, mine)
		m.require(b.permits <= p.Limits.PerBackend, "%s: %d permits, more than there may be", b.addr, b.permits)
		for _, l := range b.idle {
			m.require(l.state == leaseIdle && !slices.Contains(m.leased, l), "%s: somebody has an idle link", b.addr)
			m.require(l.generation == b.generation, "%s: an idle link is older than the last dropAll", b.addr)
			m.require(!m.clock.Before(b.quarantinedUntil), "%s: a link is kept of a backend that is not trusted", b.addr)
		}
		m.require(b.inUse == b.permits-len(b.idle), "%s: %d of %d permits are in use, but %d links are idle", b.addr, b.inUse, b.permits, len(b.idle))
		permits += b.permits
		inUse += b.inUse
		waiting += b.queue.length + b.following
	}
	m.require(p.inUse == inUse, "%d permits are in use, %d by addition", p.inUse, inUse)
	m.checkShares()
	m.checkLines()
	m.require(p.permits == permits && permits <= p.Limits.Total, "%d permits are out, %d by addition, of %d", p.permits, permits, p.Limits.Total)
	m.require(waiting == queued, "%d are waiting, the poolModel has %d", waiting, queued)
}

func (m *poolModel) require(ok bool, format string, args ...any) {
	if !ok {
		m.t.Fatalf("%s\n%v", fmt.Sprintf(format, args...), m)
	}
}

// String is what happened lately.
func (m *poolModel) String() string {
	text := "the last steps were:\n"
	for _, line := range m.history[max(0, len(m.history)-12):] {
		text += "  " + line + "\n"
	}
	return text
}

// end closes the pool, brings everything back, and finds nothing left.
func (m *poolModel) end() {
	m.note("close")
	m.p.Close()
	for _, w := range m.waiters {
		m.require(len(w.ready) == 1, "close left somebody waiting")
		if g := <-w.ready; g.err == nil {
			m.granted(w.backend, g, w.number)
		} else if !errors.Is(g.err, ErrQueueFull) {
			m.require(errors.Is(g.err, ErrClosed), "close told a waiter: %v", g.err)
		}
	}
	for len(m.dialling) > 0 {
		m.finishDial()
	}
	for len(m.leased) > 0 {
		m.put()
	}
	m.require(m.p.permits == 0, "%d permits were never given back", m.p.permits)
	m.require(m.p.inUse == 0, "%d permits are still in use", m.p.inUse)
	m.p.sweepAccounts()
	m.require(len(m.p.clients) == 0, "clients are remembered who have nothing: %v", m.p.clients)
	for _, l := range m.links {
		m.require(l.Owner.(*Lease).state == leaseClosed, "a link to %s was never closed", m.addrs[l])
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
