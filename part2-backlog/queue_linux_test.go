package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// requireQueue wants the kernel to say so about fd.
func requireQueue(t testing.TB, fd, waiting, limit int) {
	t.Helper()
	q, err := readAcceptQueue(fd)
	require.NoError(t, err)
	require.Equal(t, acceptQueue{waiting, limit}, q, "TCP_INFO of the listening socket: tcpi_unacked connections wait, tcpi_sacked is the limit")
}

// connectIgnored wants a new client's SYN to be ignored, and returns the client.
func connectIgnored(t testing.TB, addr string) (fd int) {
	t.Helper()
	fd, err := startConnect(addr)
	require.NoError(t, err, "ignored is not refused")
	t.Cleanup(func() { unix.Close(fd) })
	require.True(t, readSYNState(fd).unanswered, "the queue is full: the SYN gets no answer, and the client stays in SYN-SENT")
	return fd
}

// acceptAll empties fd's queue and returns what was in it.
func acceptAll(t testing.TB, fd int) (fds []int) {
	t.Helper()
	unix.SetNonblock(fd, true)
	for {
		c, _, err := accept(fd)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			require.Equal(t, unix.EAGAIN, err)
			return fds
		}
		t.Cleanup(func() { unix.Close(c) })
		fds = append(fds, c)
	}
}

func TestLinuxQueuesOneMoreThanTheBacklog(t *testing.T) {
	t.Parallel()
	for _, family := range loopbacks(t) {
		for _, backlog := range []int{0, 1, 2, 5} {
			t.Run(fmt.Sprint(family, " backlog ", backlog), func(t *testing.T) {
				fd, addr := startListening(t, family, backlog)
				requireQueue(t, fd, 0, backlog)

				for n := range backlog + 1 {
					require.False(t, readSYNState(connectTo(t, addr)).unanswered)
					requireQueue(t, fd, n+1, backlog)
				}
				connectIgnored(t, addr)

				requireQueue(t, fd, backlog+1, backlog)
				assert.Len(t, acceptAll(t, fd), backlog+1, "accept(2) hands out who was in the queue, and nobody else")
				requireQueue(t, fd, 0, backlog)
				t.Logf("backlog %d: %d connected, the next was ignored", backlog, backlog+1)
			})
		}
	}
}

func TestQueueIsDrawnWithAPlaceForEach(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	for q, want := range map[acceptQueue]string{
		{0, 0}:       "[.] 0 of 1 places taken",
		{1, 0}:       "[#] 1 of 1 places taken, FULL",
		{1, 1}:       "[#.] 1 of 2 places taken",
		{3, 5}:       "[###...] 3 of 6 places taken",
		{6, 5}:       "[######] 6 of 6 places taken, FULL",
		{7, 5}:       "[######] 7 of 6 places taken, FULL", // the limit was lowered, or two clients came at once
		{1, 4096}:    "[#...................] 1 of 4097 places taken",
		{4097, 4096}: "[####################] 4097 of 4097 places taken, FULL",
	} {
		assert.Equal(t, want, q.String(), "Linux lets one more in than the limit: sk_acceptq_is_full asks for > and not >=. queue.go")
	}
}

func TestBacklogIsCutToSomaxconn(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	somaxconn, err := sysctl("net/core/somaxconn")
	require.NoError(t, err)

	fd, _ := startListening(t, "127.0.0.1:0", somaxconn+1)

	requireQueue(t, fd, 0, somaxconn)
}

func TestSecondListenResizesTheQueue(t *testing.T) {
	t.Parallel()
	fd, addr := startListening(t, "127.0.0.1:0", 0)
	connectTo(t, addr)
	connectIgnored(t, addr)

	require.NoError(t, unix.Listen(fd, 2))
	connectTo(t, addr)
	connectTo(t, addr)
	requireQueue(t, fd, 3, 2)

	require.NoError(t, unix.Listen(fd, 0))
	requireQueue(t, fd, 3, 0) // who is in the queue stays
	connectIgnored(t, addr)
}

func TestQueuedConnectionHasNoDescriptor(t *testing.T) {
	t.Parallel()
	fd, addr := startListening(t, "127.0.0.1:0", 5)

	for range 3 {
		connectTo(t, addr)
	}

	requireQueue(t, fd, 3, 5)
	assert.Equal(t, 1, countDescriptors(localAddr(fd)), "the listener has one; the server's ends have none before accept(2)")
	assert.Len(t, acceptAll(t, fd), 3)
	assert.Equal(t, 4, countDescriptors(localAddr(fd)), "accept(2) makes them")
}

func TestQueuedRequestIsReadableAfterAccept(t *testing.T) {
	t.Parallel()
	fd, addr := startListening(t, "127.0.0.1:0", 0)
	c := connectTo(t, addr)
	_, err := unix.Write(c, []byte(get))
	require.NoError(t, err, "the kernel takes the request for a server that has never heard of it")

	buf := make([]byte, 1000)
	n, err := unix.Read(acceptAll(t, fd)[0], buf)

	require.NoError(t, err)
	assert.Equal(t, get, string(buf[:n]))
}

// The queue does not know that the client has given up: work for nobody.
func TestClientThatClosedIsStillServed(t *testing.T) {
	t.Parallel()
	fd, addr := startListening(t, "127.0.0.1:0", 0)
	c, err := connect(testContext(t), addr, maxWait)
	require.NoError(t, err)
	unix.Write(c, []byte(get))
	unix.Close(c)

	requireQueue(t, fd, 1, 0) // it keeps its place
	connectIgnored(t, addr)
	left := acceptAll(t, fd)

	require.Len(t, left, 1)
	buf := make([]byte, 1000)
	n, err := unix.Read(left[0], buf)
	require.NoError(t, err)
	assert.Equal(t, get, string(buf[:n]))
	n, err = unix.Read(left[0], buf)
	require.NoError(t, err)
	assert.Zero(t, n, "and then the end: the client left long ago")
}

func TestClosingTheListenerResetsQueuedConnections(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	fd, err := listen("127.0.0.1:0", 1)
	require.NoError(t, err)
	addr := localAddr(fd).String()
	queued := []int{connectTo(t, addr), connectTo(t, addr)}

	unix.Close(fd)

	for _, c := range queued {
		_, err := unix.Read(c, make([]byte, 1))
		assert.ErrorIs(t, err, unix.ECONNRESET, "inet_csk_listen_stop() in net/ipv4/inet_connection_sock.c")
	}
}

// Part 1's stop, with the kernel's figures: nobody who is queued is reset.
func TestDrainingTheListenerResetsNoConnection(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	r := startServer(t, func(s *server) { s.delay, s.lingerTimeout = 2*pollInterval, pollInterval })
	require.NoError(t, unix.Listen(r.server.fd, 5))
	var clients []int
	for n := range 4 {
		c := connectTo(t, r.addr)
		unix.Write(c, []byte(get))
		clients = append(clients, c)
		if n == 0 {
			eventually(t, "the first client is in service", func() bool {
				q, err := readAcceptQueue(r.server.fd)
				return err == nil && q.Waiting == 0
			})
		}
	}

	r.stop()

	for n, c := range clients {
		status, err := client{responseTimeout: maxWait}.readResponse(testContext(t), c)
		require.NoError(t, err, "client %d was connected when the server was told to stop: closing a listener resets who is queued, so it is emptied first. server.go, serve", n+1)
		assert.Equal(t, "200 OK", status)
	}
}

// A queueStage is one client in service, which has sent half of its request and holds
// the server as long as the test likes, and one queued behind it.
type queueStage struct {
	*testServer
	first, second *net.TCPConn
}

func newQueueStage(t testing.TB, backlog int) queueStage {
	t.Helper()
	x := queueStage{testServer: startServer(t)}
	require.NoError(t, unix.Listen(x.server.fd, backlog))
	x.first = dial(t, x.addr)
	io.WriteString(x.first, get[:10])
	eventually(t, "the first client is in service", func() bool {
		q, err := readAcceptQueue(x.server.fd)
		return err == nil && q.Waiting == 0
	})
	x.second = dial(t, x.addr)
	io.WriteString(x.second, get)
	requireQueue(t, x.server.fd, 1, backlog)
	return x
}

// served lets the first client go on, and wants both to be answered.
func (x queueStage) served(t testing.TB) {
	t.Helper()
	io.WriteString(x.first, get[10:])
	for _, c := range []*net.TCPConn{x.first, x.second} {
		transcript{sent: get, rule: "who was connected is answered", look: "server.go, serve"}.readAll(c).wantPrefix(t, "HTTP/1.1 ")
	}
}

// The experiment of this part: one client in service, one queued, and a third.
// Without a connect timeout three of three are answered, with one two of three.
//
// On macOS this takes a backlog of 1: listen(fd, 1) queues exactly one connection
// there, and 0 means the most that it can. On Linux listen(fd, 0) queues one.
func TestThirdClientGivesUpWithAConnectTimeout(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	x := newQueueStage(t, 0)

	third := client{number: 3, addr: x.addr, connectTimeout: 60 * time.Millisecond, responseTimeout: maxWait}.requestOnce(testContext(t), func() {})

	assert.ErrorIs(t, third.err, ErrConnectTimeout)
	assert.GreaterOrEqual(t, third.ConnectMS, 60.0)
	assert.Empty(t, third.Status, "two of three are answered")
	x.served(t)
}

// This is the test that waits out a retransmission.
func TestThirdClientWithoutAConnectTimeoutIsAnsweredAfterARetransmission(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	x := newQueueStage(t, 0)
	began := time.Now()
	third := connectIgnored(t, x.addr)

	x.served(t) // the queue has room from here on, and nobody tells the third client
	require.NoError(t, finishConnect(testContext(t), third, 0))
	waited, syns := time.Since(began), readSYNState(third).retransmits
	status, err := client{responseTimeout: maxWait}.sendRequest(testContext(t), third)

	require.NoError(t, err)
	assert.NotEmpty(t, status, "three of three are answered")
	require.GreaterOrEqual(t, syns, 1, "its SYN was sent again")
	schedule := synScheduleHere(t)[syns-1]
	assert.GreaterOrEqual(t, waited, schedule, "and not before its time, which follows from the sysctls: synschedule.go")
	t.Logf("the third client was connected after %v and %d more SYN; the schedule says %v", waited.Round(time.Millisecond), syns, schedule)
}

func TestThirdClientIsConnectedWithABacklogOfOne(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	x := newQueueStage(t, 1)

	third := dial(t, x.addr)
	io.WriteString(third, get)

	requireQueue(t, x.server.fd, 2, 1)
	connectIgnored(t, x.addr) // the fourth
	x.served(t)
	transcript{sent: get, rule: "backlog 1 has room for two on Linux", look: "queue.go"}.readAll(third).wantPrefix(t, "HTTP/1.1 ")
}

func synScheduleHere(t testing.TB) []time.Duration {
	t.Helper()
	retries, err := sysctl("net/ipv4/tcp_syn_retries")
	require.NoError(t, err)
	linear, _ := sysctl("net/ipv4/tcp_syn_linear_timeouts") // since Linux 6.5
	return synSchedule(retries, linear)
}

func TestSYNScheduleFollowsFromTheSysctls(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	seconds := func(n ...int) (list []time.Duration) {
		for _, n := range n {
			list = append(list, time.Duration(n)*time.Second)
		}
		return list
	}

	assert.Equal(t, seconds(1, 2, 3, 4, 5, 7, 11, 19, 35, 67), synSchedule(6, 4), "Linux since 6.5")
	assert.Equal(t, seconds(1, 3, 7, 15, 31, 63), synSchedule(6, 0), "Linux before 6.5")
	assert.Equal(t, seconds(1), synSchedule(1, 0))
	assert.Equal(t, seconds(1, 3, 7, 15, 31, 63, 127, 247), synSchedule(8, 0), "no wait is longer than two minutes")
}

// inOwnNetns plays a test again by itself in a network namespace of its own, where
// it is root and the only traffic is its own. It is true there. The caller
// returns when it is false.
func inOwnNetns(t *testing.T) bool {
	t.Helper()
	skipIfJudging(t)
	if insideNetns() {
		if err := loopbackUp(); err != nil {
			t.Skip(err)
		}
		return true
	}
	cmd := netnsCommand(t.Context(), "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0")
	if err := startInNetns(cmd); err != nil {
		t.Skip(err)
	}
	err := receiveWithin(t, 3*patience(), exitStatusChan(cmd), "the test ends in a network namespace of its own")
	switch {
	case strings.Contains(output.String(), "--- SKIP"):
		t.Skip(output.String())
	case err != nil:
		t.Fatalf("in a network namespace of its own:\n%s", &output)
	}
	t.Log("in a network namespace of its own:\n", &output)
	return false
}

func setSysctl(t testing.TB, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
		t.Skip("this system does not let a namespace choose its own sysctls: ", err)
	}
}

func TestEveryIgnoredSYNIsCountedTwice(t *testing.T) {
	t.Parallel()
	if !inOwnNetns(t) {
		return
	}
	_, addr := startListening(t, "127.0.0.1:0", 2)
	for range 3 {
		connectTo(t, addr)
	}
	before, err := readCounters()
	require.NoError(t, err)

	for range 5 {
		connectIgnored(t, addr)
	}

	after, err := readCounters()
	require.NoError(t, err)
	assert.Equal(t, counters{Overflows: 5, Drops: 5}, after.sub(before), "/proc/net/netstat: ListenOverflows, ListenDrops")
}

func TestLoweringSomaxconnLaterShrinksNoQueue(t *testing.T) {
	t.Parallel()
	if !inOwnNetns(t) {
		return
	}
	old, _ := startListening(t, "127.0.0.1:0", 50)
	setSysctl(t, "net/core/somaxconn", "3")

	fresh, addr := startListening(t, "127.0.0.1:0", 50)

	requireQueue(t, old, 0, 50)
	requireQueue(t, fresh, 0, 3)
	for range 4 {
		connectTo(t, addr)
	}
	connectIgnored(t, addr)
}

// dropLastACK makes the listening socket fd lose the client's last word of the
// handshake: a socket filter, which runs on the packets for the connections
// that it has not accepted yet, drops what has the flag ACK and not SYN.
func dropLastACK(t testing.TB, fd int) (stop func()) {
	t.Helper()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},                          // the flags of the TCP header
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0x12},                       // SYN and ACK
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0x10, Jt: 1, Jf: 0},         // ACK alone?
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff}, {Code: unix.BPF_RET | unix.BPF_K}, // keep; drop
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		t.Skip("this system lets no ordinary program filter its own socket: ", err)
	}
	return func() { require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)) }
}

// A phantom: the client is connected, the server has never heard of it. No
// connect timeout helps, for the client is connected; only one for the response.
func TestClientCanBeConnectedBeforeTheServerKnows(t *testing.T) {
	t.Parallel()
	if !inOwnNetns(t) {
		return
	}
	fd, addr := startListening(t, "127.0.0.1:0", 0)
	arrive := dropLastACK(t, fd)
	phantom := connectTo(t, addr)
	arrive()
	requireQueue(t, fd, 0, 0) // the kernel still waits for the last ACK
	connectTo(t, addr)        // meanwhile the only place is taken

	_, err := unix.Write(phantom, []byte(get))

	require.NoError(t, err, "the phantom writes as if nothing were wrong")
	requireQueue(t, fd, 1, 0)
	assert.Len(t, acceptAll(t, fd), 1, "the server gets the other one")
	ctx, end := context.WithTimeout(t.Context(), 3*pollInterval)
	defer end()
	assert.ErrorIs(t, waitReady(ctx, phantom, unix.POLLIN, time.Time{}), context.DeadlineExceeded, "and the phantom hears nothing")
}

// tcp_abort_on_overflow is not about the SYNs that a full queue ignores, which
// are what overflow usually means; it turns phantoms into resets.
func TestAbortOnOverflowResetsPhantomConnectionsOnly(t *testing.T) {
	t.Parallel()
	if !inOwnNetns(t) {
		return
	}
	setSysctl(t, "net/ipv4/tcp_abort_on_overflow", "1")
	fd, addr := startListening(t, "127.0.0.1:0", 0)
	arrive := dropLastACK(t, fd)
	phantom := connectTo(t, addr)
	arrive()
	connectTo(t, addr)

	_, err := unix.Write(phantom, []byte(get))
	require.NoError(t, err)

	_, err = unix.Read(phantom, make([]byte, 1))
	assert.ErrorIs(t, err, unix.ECONNRESET, "tcp_check_req() in net/ipv4/tcp_minisocks.c")
	connectIgnored(t, addr) // as without it
}
