package pool

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/internal/testutil"
)

const ruleGiveBack = "house rule: a response that waits for its turn does not keep a connection that others wait for. giveback.go"

// A modelRequest is a request by its line and its number.
type modelRequest struct {
	line   int
	number uint64
}

// A suspendedRequest of the model has given its connection back, and must ask again.
type suspendedRequest struct {
	modelRequest
	first Reservation
}

// waitForTurn is a tick for some requests that wait for their turns, or a request whose turn has
// come.
func (m *poolModel) waitForTurn() {
	if m.choose(2) == 0 {
		for range 1 + m.choose(4) {
			m.giveBack()
		}
	} else if i := slices.IndexFunc(m.suspended, m.atTurn); i >= 0 {
		m.askAgain(i)
	}
}

func (m *poolModel) giveBack() {
	if len(m.leased) == 0 {
		return
	}
	i := m.choose(len(m.leased))
	l, waited := m.leased[i], time.Duration(m.choose(5))*time.Second
	b, line, number := l.backend, slices.Index(m.lines, l.line), m.numbers[l]
	overdue := line >= 0 && m.lines[line].head != nil && m.lines[line].head.again
	served, slow := m.served(), m.told[l]
	if !slow {
		pledged := m.pledged()
		if m.askedAgain[modelRequest{line, number}] || !l.ShouldGiveBack(waited) {
			return
		}
		m.told[l] = true
		m.note("request %d of line %d is told to give its connection to %s back", number, line, b.addr)
		m.require(overdue || m.p.Limits.Spare > 0 && waited > m.p.Limits.Spare, "a connection is given back after %v: %s", waited, ruleGiveBack)
		m.require(overdue || len(m.pledged()) > len(pledged), "a second connection is given back for one caller: %s", ruleGiveBack)
		if m.choose(2) == 0 {
			return // it does so later
		}
	}
	l.GiveBack()
	m.note("request %d of line %d gives its connection to %s back", number, line, b.addr)
	m.require(overdue || slow || m.served() > served, "a connection is given back, and helps no caller: %s", ruleGiveBack)
	m.leased = slices.Delete(m.leased, i, i+1)
	m.suspended = append(m.suspended, suspendedRequest{modelRequest{line, number}, Reservation{backend: b, Number: number}})
}

// pledged returns the waiting callers for which a holder was told to give back, and has not.
func (m *poolModel) pledged() (all []*waiter) {
	for _, w := range m.waiters {
		if w.queued && w.isPledged() {
			m.require(m.told[w.pledge], "a pledge of a holder that was told nothing")
			all = append(all, w)
		}
	}
	return all
}

// served returns how many waiters have a permit that they have not collected.
func (m *poolModel) served() (n int) {
	for _, w := range m.waiters {
		if !w.queued && m.hasPermit(w) {
			n++
		}
	}
	return n
}

// atTurn reports whether no earlier request of x's line is unanswered.
func (m *poolModel) atTurn(x suspendedRequest) bool {
	earliest := true
	earlier := func(line *Line, number uint64) {
		earliest = earliest && (line != m.lines[x.line] || number >= x.number)
	}
	m.holders(func(_ *backend, h holder, number uint64) { earlier(h.line, number) })
	for _, w := range m.waiters {
		earlier(w.line, w.number)
	}
	for _, y := range m.suspended {
		earlier(m.lines[y.line], y.number)
	}
	return earliest
}

func (m *poolModel) askAgain(i int) {
	x := m.suspended[i]
	m.suspended = slices.Delete(m.suspended, i, i+1)
	m.askedAgain[x.modelRequest] = true
	at := m.p.ReserveAgain(x.first, modelClient[clientLines[x.line]], m.lines[x.line])
	m.note("request %d of line %d asks again: must wait %v, %v", x.number, x.line, at.waiter != nil, at.grant.err)
	switch {
	case at.waiter != nil:
		m.waiters = append(m.waiters, at.waiter)
	case at.grant.err == nil:
		m.granted(at.backend, at.grant, at.Number)
	}
}

// checkSuspended checks the second rule of giveback.go.
func (m *poolModel) checkSuspended() {
	count := map[*Line]int{}
	for _, x := range m.suspended {
		count[m.lines[x.line]]++
	}
	for _, l := range m.lines {
		m.require(l.suspended == count[l] && m.p.suspended[l] == (count[l] > 0), "%d requests of a line have given back, the pool counts %d", count[l], l.suspended)
		m.require(count[l] == 0 || l.head == nil || l.head.again, "a request waits in the queue although an earlier one of its line has given its connection back: %s", ruleGiveBack)
	}
}

// newGiveBackPool returns a pool for n connections and how long one may be kept in vain.
func newGiveBackPool(t *testing.T, n int) *Pool {
	return newSharedPool(t, Limits{PerBackend: n, Total: n, OneClient: true, Spare: 2 * time.Second})
}

// giveBackIfAsked is what the holder of l does at a tick.
func giveBackIfAsked(l *Lease, waited time.Duration) bool {
	must := l.ShouldGiveBack(waited)
	if must {
		l.GiveBack()
	}
	return must
}

func claimNow(t *testing.T, p *Pool, at Reservation) *Lease {
	ctx, cancel := context.WithTimeout(t.Context(), testutil.MaxWait)
	defer cancel()
	l, err := p.Claim(ctx, at, &testTimeouts)
	require.NoError(t, err)
	return l
}

func TestConnectionIsGivenBackAfterItsSpareTimeAndForAnother(t *testing.T) {
	t.Parallel()
	p := newGiveBackPool(t, 1)
	var line Line
	first := p.Reserve("x", modelClient[0], &line)
	l := claimNow(t, p, first)

	assert.False(t, giveBackIfAsked(l, time.Hour), "no caller waits. %s", ruleGiveBack)
	own := p.Reserve("x", modelClient[0], &line)
	assert.False(t, giveBackIfAsked(l, time.Hour), "only a later request of its own line waits, and its response would wait too. %s", ruleGiveBack)
	other := p.Reserve("x", modelClient[1], &Line{})
	assert.False(t, giveBackIfAsked(l, p.Limits.Spare), "it has waited for no longer than Spare. %s", ruleGiveBack)
	require.True(t, giveBackIfAsked(l, p.Limits.Spare+1), ruleGiveBack)

	helped := claimNow(t, p, other) // and not the later request of the line, which is older
	assert.EqualValues(t, 1, p.Stats().Backend("x").GivenBack)
	again := p.ReserveAgain(first, modelClient[0], &line)
	helped.Return(true)
	claimNow(t, p, again).Return(true)
	claimNow(t, p, own).Return(true)
}

// Three holders are overdue in one tick, and one caller waits.
func TestOneConnectionIsGivenBackForOneCaller(t *testing.T) {
	t.Parallel()
	p := newGiveBackPool(t, 3)
	var held []*Lease
	for range 3 {
		held = append(held, claimNow(t, p, p.Reserve("x", modelClient[0], &Line{})))
	}
	one := p.Reserve("x", modelClient[1], &Line{})

	require.True(t, held[0].ShouldGiveBack(time.Hour), ruleGiveBack)
	assert.False(t, held[1].ShouldGiveBack(time.Hour), "the holder of another connection was told to give it back for this caller. %s", ruleGiveBack)
	two := p.Reserve("x", modelClient[1], &Line{})
	require.True(t, held[1].ShouldGiveBack(time.Hour), "a second caller waits. %s", ruleGiveBack)
	assert.False(t, held[2].ShouldGiveBack(time.Hour), ruleGiveBack)

	held[0].GiveBack()
	held[1].Return(false) // its client has gone
	claimNow(t, p, one).Return(true)
	claimNow(t, p, two).Return(true)
	held[2].Return(true)
}

// The connection that was to be given back for a caller goes to its holder's own next try.
func TestCallerCountsAgainIfItIsNotServed(t *testing.T) {
	t.Parallel()
	p := newGiveBackPool(t, 2)
	held := []*Lease{claimNow(t, p, p.Reserve("x", modelClient[0], &Line{})), claimNow(t, p, p.Reserve("x", modelClient[0], &Line{}))}
	other := p.Reserve("x", modelClient[1], &Line{})
	require.True(t, held[0].ShouldGiveBack(time.Hour), ruleGiveBack)

	again, err := held[0].Redial(t.Context(), true, &testTimeouts)

	require.NoError(t, err)
	require.True(t, held[1].ShouldGiveBack(time.Hour), ruleGiveBack)
	held[1].GiveBack()
	claimNow(t, p, other).Return(true)
	again.Return(true)
}

func TestRequestThatAsksAgainIsAheadOfItsLine(t *testing.T) {
	t.Parallel()
	p := newGiveBackPool(t, 2)
	var line Line
	first := p.Reserve("x", modelClient[0], &line)
	older := claimNow(t, p, first)
	younger := claimNow(t, p, p.Reserve("x", modelClient[0], &line))
	other := p.Reserve("x", modelClient[1], &Line{})
	require.True(t, giveBackIfAsked(older, time.Hour))
	busy := claimNow(t, p, other)

	again := p.ReserveAgain(first, modelClient[0], &line)

	require.NotNil(t, again.waiter)
	assert.True(t, giveBackIfAsked(younger, 0), "a response that waits for one whose request waits for a connection gives its own back at once. %s", ruleGiveBack)
	claimNow(t, p, again).Return(true)
	busy.Return(true)
	claimNow(t, p, p.ReserveAgain(Reservation{backend: again.backend, Number: 2}, modelClient[0], &line)).Return(true)
}

func TestTimeOfASuspendedLineDoesNotRunOut(t *testing.T) {
	t.Parallel()
	p := newGiveBackPool(t, 1)
	p.Limits.MaxWait = time.Millisecond
	var looks atomic.Int64 // at the pool's clock
	now := p.Now
	p.Now = func() time.Time { looks.Add(1); return now() }
	var line Line
	first := p.Reserve("x", modelClient[0], &line)
	l := claimNow(t, p, first)
	other := p.Reserve("x", modelClient[1], &Line{})
	require.True(t, giveBackIfAsked(l, time.Hour))
	claimNow(t, p, other).Return(true)
	late := p.Reserve("x", modelClient[0], &line)
	claimed, before := make(chan error, 1), looks.Load()
	go func() { // ends when it is served
		l, err := p.Claim(context.Background(), late, &testTimeouts)
		if err == nil {
			l.Return(true)
		}
		claimed <- err
	}()

	testutil.Eventually(t, "MaxWait has passed", func() bool { return looks.Load() > before })
	assert.Equal(t, p.Limits.MaxWait, p.patience(late.waiter), "its response could not be sent if it had a connection. %s", ruleGiveBack)
	claimNow(t, p, p.ReserveAgain(first, modelClient[0], &line)).Return(true)

	assert.NoError(t, testutil.Receive(t, claimed, "the later request is served"), ruleGiveBack)
}

func TestCloseReachesASuspendedLine(t *testing.T) {
	t.Parallel()
	p := newGiveBackPool(t, 1)
	var line Line
	first := p.Reserve("x", modelClient[0], &line)
	l := claimNow(t, p, first)
	other := p.Reserve("x", modelClient[1], &Line{})
	require.True(t, giveBackIfAsked(l, time.Hour))
	busy := claimNow(t, p, other)
	late := p.Reserve("x", modelClient[0], &line)

	p.Close()

	ctx, cancel := context.WithTimeout(t.Context(), testutil.MaxWait)
	defer cancel()
	_, err := p.Claim(ctx, late, &testTimeouts)
	assert.ErrorIs(t, err, ErrClosed)
	_, err = p.Claim(ctx, p.ReserveAgain(first, modelClient[0], &line), &testTimeouts)
	assert.ErrorIs(t, err, ErrClosed)
	busy.Return(true)
}

// Two requests of one line have given their connections back when their client goes: both
// ask again, though only one could have its turn. Neither may damage the queue.
func TestRequestsOfALineWhoseClientHasGoneAskAgain(t *testing.T) {
	t.Parallel()
	for _, reversed := range []bool{false, true} {
		p := newGiveBackPool(t, 2)
		var line Line
		var first []Reservation
		for range 2 {
			first = append(first, p.Reserve("x", modelClient[0], &line))
		}
		held := []*Lease{claimNow(t, p, first[0]), claimNow(t, p, first[1])}
		others := []Reservation{p.Reserve("x", modelClient[1], &Line{}), p.Reserve("x", modelClient[1], &Line{})}
		for _, l := range held {
			require.True(t, giveBackIfAsked(l, time.Hour), ruleGiveBack)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		again := []Reservation{p.ReserveAgain(first[0], modelClient[0], &line), p.ReserveAgain(first[1], modelClient[0], &line)}
		if reversed {
			slices.Reverse(again)
		}

		for _, at := range again {
			_, err := p.Claim(gone, at, &testTimeouts)
			assert.ErrorIs(t, err, context.Canceled)
		}

		s := p.Stats().Backend("x")
		assert.Zero(t, s.Waiting, "callers that have gone are still in the queue. giveback.go, ReserveAgain")
		assert.Zero(t, p.backends["x"].following, "callers that have gone still follow in their line. giveback.go, ReserveAgain")
		for _, at := range others {
			claimNow(t, p, at).Return(false)
		}
	}
}
