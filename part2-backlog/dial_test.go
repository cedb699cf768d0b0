package main

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// loopbacks are the addresses that tests listen on.
func loopbacks(t testing.TB) []string {
	t.Helper()
	fd, err := listen("[::1]:0", 0)
	if err != nil {
		t.Log("this machine has no IPv6 loopback: ", err)
		return []string{"127.0.0.1:0"}
	}
	unix.Close(fd)
	return []string{"127.0.0.1:0", "[::1]:0"}
}

// startListening opens a listening socket that nobody accepts from, and closes it
// when the test ends.
func startListening(t testing.TB, addr string, backlog int) (fd int, at string) {
	t.Helper()
	skipIfJudging(t)
	fd, err := listen(addr, backlog)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd, localAddr(fd).String()
}

// connectTo connects a client that is closed when the test ends.
func connectTo(t testing.TB, addr string) (fd int) {
	t.Helper()
	fd, err := connect(testContext(t), addr, maxWait)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// unresponsiveAddr is the address of a listener that ignores every SYN, since its queue is
// full: an unreachable server that needs no network.
func unresponsiveAddr(t testing.TB) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("a backlog of 0 means the maximum here: run this in a Linux container")
	}
	_, addr := startListening(t, "127.0.0.1:0", 0)
	connectTo(t, addr)
	return addr
}

func TestConnectReachesAListener(t *testing.T) {
	t.Parallel()
	for _, family := range loopbacks(t) {
		fd, addr := startListening(t, family, 0)

		c := connectTo(t, addr)

		peer, err := unix.Getpeername(c)
		require.NoError(t, err)
		assert.Equal(t, localAddr(fd), addrPort(peer))
	}
}

func TestClosedPortIsRefused(t *testing.T) {
	t.Parallel()
	for _, family := range loopbacks(t) {
		fd, addr := startListening(t, family, 0)
		unix.Shutdown(fd, unix.SHUT_RDWR) // no longer listens, and nobody else gets its port

		_, err := connect(testContext(t), addr, maxWait)

		assert.ErrorIs(t, err, ErrRefused, "poll says that a failed socket is writable; only SO_ERROR says why, connect(2)")
		assert.ErrorIs(t, err, unix.ECONNREFUSED)
		assert.EqualError(t, err, "connect "+addr+": refused: connection refused")
	}
}

func TestConnectTimesOutWhenNobodyAnswers(t *testing.T) {
	t.Parallel()
	addr := unresponsiveAddr(t)
	const timeout = 50 * time.Millisecond
	ctx, end := context.WithTimeout(t.Context(), time.Second) // less than a retransmission
	defer end()
	began := time.Now()

	_, err := connect(ctx, addr, timeout)

	took := time.Since(began)
	require.ErrorIs(t, err, ErrConnectTimeout, "house rule: a connect timeout of %v ends the wait for a handshake; it took %v. dial.go, finishConnect", timeout, took)
	assert.EqualError(t, err, "connect "+addr+": timed out after 50ms")
	assert.GreaterOrEqual(t, took, timeout)
}

func TestConnectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	addr := unresponsiveAddr(t)
	canceled, cancel := context.WithCancel(t.Context())
	dated, end := context.WithTimeout(t.Context(), pollInterval)
	defer end()
	time.AfterFunc(pollInterval, cancel)

	_, err := connect(canceled, addr, 0)
	assert.ErrorIs(t, err, context.Canceled)
	_, err = connect(dated, addr, time.Hour)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestUnroutableAddressIsUnreachable(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	if runtime.GOOS != "linux" {
		t.Skip("other systems have other words for it: run this in a Linux container")
	}

	_, err := connect(testContext(t), "255.255.255.255:80", maxWait)

	assert.ErrorIs(t, err, ErrUnreachable)
	assert.ErrorIs(t, err, unix.ENETUNREACH)
}

func TestConnectWantsAnAddressNotAName(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)

	_, err := connect(testContext(t), "localhost:80", maxWait)

	assert.ErrorContains(t, err, `bad address "localhost:80": want an IP address and a port`)
}

// The kernel picks our end's port; when it picks the one that we connect to,
// and nobody listens there, we get ourselves. Here we pick it.
func TestConnectionToItselfIsRefused(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	fd, err := newSocket(unix.AF_INET)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	self, err := unix.Getsockname(fd)
	require.NoError(t, err)
	require.NoError(t, unix.Connect(fd, self), "TCP shakes hands with itself")

	err = finishConnect(testContext(t), fd, maxWait)

	require.ErrorIs(t, err, ErrRefused, "house rule: a connection whose two ends are one is none; getsockname and getpeername tell. dial.go, rejectSelfConnect")
	assert.ErrorContains(t, err, "the connection met itself")
}

// The next tests put signals in the way of poll(2). They are not parallel: poll
// is one for the whole program.

// interruptPoll makes poll fail with EINTR the first n times, as if a signal had
// come after a millisecond.
func interruptPoll(t testing.TB, n int) (count *int) {
	t.Helper()
	count = new(int)
	poll = func(fds []unix.PollFd, timeout int) (int, error) {
		if *count++; *count > n {
			return unix.Poll(fds, timeout)
		}
		unix.Poll(nil, 1)
		return -1, unix.EINTR
	}
	t.Cleanup(func() { poll = unix.Poll })
	return count
}

func TestSignalDoesNotBreakAConnect(t *testing.T) {
	_, addr := startListening(t, "127.0.0.1:0", 0)
	count := interruptPoll(t, 3)

	fd, err := connect(testContext(t), addr, maxWait)

	require.NoError(t, err, "EINTR says that a signal came, not that the connection failed; the Go runtime sends itself some, signal(7). dial.go, waitReady")
	unix.Close(fd)
	assert.Equal(t, 4, *count, "three signals, then the answer")
}

func TestSignalsDoNotProlongTheTimeout(t *testing.T) {
	addr := unresponsiveAddr(t)
	count := interruptPoll(t, 400) // 400 ms and more of signals

	_, err := connect(testContext(t), addr, 50*time.Millisecond)

	require.ErrorIs(t, err, ErrConnectTimeout)
	assert.Less(t, *count, 100, "after each signal only the rest of the time is left. dial.go, waitReady")
}

func TestFailedConnectsLeakNoDescriptor(t *testing.T) {
	silent := unresponsiveAddr(t)
	closed, refusing := startListening(t, "127.0.0.1:0", 0)
	unix.Shutdown(closed, unix.SHUT_RDWR)
	before, ctx := descriptors(), testContext(t)

	for range 20 {
		for _, addr := range []string{silent, refusing, "255.255.255.255:80"} {
			_, err := connect(ctx, addr, time.Millisecond)
			require.Error(t, err)
		}
	}

	// Fewer are fine: somebody who was before us may have closed his.
	assert.LessOrEqual(t, descriptors(), before, "one close on every path that fails. dial.go, connect")
}
