package pool

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/internal/testutil"
)

// A kept connection can go stale at any moment. Five things happen to it: it is
// leased, written to and released, in this order, while the server closes it
// (FIN) and our idle timer fires at any point. There are 20 orders; this test
// runs them all.
func TestStaleConnectionRaceInEveryOrder(t *testing.T) {
	t.Parallel()
	for _, order := range staleOrders() {
		t.Run(strings.Join(order, ","), func(t *testing.T) {
			t.Parallel()
			newStaleRace(t).run(order)
		})
	}
}

func staleOrders() (all [][]string) {
	for fin := range 4 {
		for timer := range 5 {
			order := slices.Insert([]string{"lease", "write", "release"}, fin, "FIN")
			all = append(all, slices.Insert(order, timer, "timer"))
		}
	}
	return all
}

// A staleRace is one order: a connection that is leased when it begins, and what
// has happened so far.
type staleRace struct {
	t      *testing.T
	p      *Pool
	clock  *fakeClock
	server *testutil.Server
	fin    chan bool // closes the server's end of the old connection
	old, l *Lease
	now    *client.Response
	failed error
	seen   map[string]bool
}

func newStaleRace(t *testing.T) *staleRace {
	s := &staleRace{t: t, p: newSmallPool(t, 2), fin: make(chan bool, 1), seen: map[string]bool{}}
	s.p.Limits.IdleTime = time.Minute
	s.clock = useFakeClock(s.p)
	s.server = testutil.ServeScript(t, func(c *net.TCPConn, number int) {
		if number == 1 {
			go func() { // ends with the test
				select {
				case <-s.fin:
				case <-t.Context().Done():
				}
				c.CloseWrite()
				c.CloseRead()
			}()
		}
		in := make([]byte, 4<<10)
		for _, err := c.Read(in); err == nil; _, err = c.Read(in) {
			c.Write([]byte(testutil.Response200("ok")))
		}
	})
	l, err := s.p.Get(t.Context(), s.server.Addr, &testTimeouts)
	require.NoError(t, err)
	a, err := l.RoundTrip(t.Context(), getRequest("/"), &testTimeouts, time.Time{})
	require.NoError(t, err)
	readAll(a)
	s.old = l
	return s
}

func (s *staleRace) run(order []string) {
	for _, event := range order {
		switch event {
		case "FIN":
			closed := s.old.state == leaseClosed
			s.fin <- true
			if !closed {
				awaitPeerClose(s.t, s.old)
			}
		case "timer":
			s.clock.advance(time.Hour)
			s.p.evict()
		case "lease":
			s.lease()
		case "write":
			s.write()
		case "release":
			s.release()
		}
		s.seen[event] = true
	}
	if s.seen["FIN"] && s.seen["timer"] { // after both, in any order, the old connection is closed
		s.p.evict()
		assert.Equal(s.t, leaseClosed, s.old.state)
	}
	assert.Zero(s.t, s.p.Stats().Backend(s.server.Addr).Leased)
}

// lease gets the old connection, unless the server or the timer has ended it.
func (s *staleRace) lease() {
	var err error
	s.l, err = s.p.Get(s.t.Context(), s.server.Addr, &testTimeouts)
	require.NoError(s.t, err)
	gone := s.seen["FIN"] || s.seen["timer"]
	assert.Equal(s.t, !gone, s.l == s.old, "house rule: what is closed, or too long idle, is not handed out. pool.go, checkOrDial")
}

// write fails only on the old connection, and only if the server has closed it
// after the lease: no check could have known. Our own timer must not touch a
// leased connection.
func (s *staleRace) write() {
	a, err := s.l.RoundTrip(s.t.Context(), getRequest("/"), &testTimeouts, time.Time{})
	if s.l == s.old && s.seen["FIN"] {
		assert.ErrorIs(s.t, err, client.ErrEnded)
		assert.True(s.t, s.l.MayRetry(getRequest("/"), err), "a GET may be sent again")
		assert.False(s.t, s.l.MayRetry(postRequest("/", "x"), err), "a POST may not: the server may have acted on it")
		s.failed = err
		return
	}
	require.NoError(s.t, err, "house rule: the evictor touches idle connections only. evictor.go, evict")
	s.now = a
}

// release keeps the connection if the exchange succeeded and its check passes.
func (s *staleRace) release() {
	if s.failed != nil {
		s.l.Release(false)
	} else {
		_, err := readAll(s.now)
		require.NoError(s.t, err)
	}
	good := s.failed == nil && !(s.l == s.old && s.seen["FIN"])
	assert.Equal(s.t, good, s.l.state == leaseIdle, fmt.Sprintf("house rule: check a connection on its return. pool.go, put; counts %+v", s.p.Stats()))
}
