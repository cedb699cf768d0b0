package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part3-pipelining/socket"
)

// A sharedListener is a listening socket that the test holds open, and passes to one
// server after the other.
type sharedListener struct {
	*os.File
	addr string
}

func listenForOthers(t testing.TB) sharedListener {
	t.Helper()
	skipIfJudging(t)
	fd, err := socket.Listen("127.0.0.1:0", backlog)
	require.NoError(t, err)
	l := sharedListener{os.NewFile(uintptr(fd), "listener"), socket.LocalAddr(fd).String()}
	t.Cleanup(func() { l.Close() })
	return l
}

// queued returns how many connections wait in the socket's accept queue.
func (l sharedListener) queued() int { return socket.AcceptQueueLen(int(l.Fd())) }

// startServer starts `serve` with the socket as descriptor 3.
func (l sharedListener) startServer(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := programCommand(t, append([]string{"serve", "-addr", "fd:3"}, args...)...)
	cmd.ExtraFiles = []*os.File{l.File}
	addr, _ := startProgram(t, cmd)
	require.Equal(t, l.addr, addr)
	return cmd
}

func requireStops(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, waitExit(t, cmd), "exit status")
}

// A server that inherited its socket does not own the accept queue. When it stops, it
// leaves the queued connections to its successor, and the queue as long as it was.
func TestInheritedQueueOutlivesTheServer(t *testing.T) {
	t.Parallel()
	l := listenForOthers(t)
	first := l.startServer(t, "-connections", "1")
	withoutBody := "POST /echo HTTP/1.1\r\nHost: socket.up\r\nContent-Length: 1\r\n\r\n"
	served := converse(t, l.addr, withoutBody) // until drainReadTime after the signal
	var clients []*net.TCPConn
	connect := func(n int) {
		for range n {
			clients = append(clients, converse(t, l.addr, get("/", closeField)))
		}
		eventually(t, "they are queued", func() bool { return l.queued() == len(clients) })
	}
	connect(3)

	require.NoError(t, first.Process.Signal(syscall.SIGTERM))
	requireRead(t, served, transcript{sent: withoutBody}, "HTTP/1.1 408 ")
	served.Close()
	require.NoError(t, waitExit(t, first), "exit status")

	s := transcript{sent: get("/", closeField), rule: "house rule: a stop loses no request", look: "drain.go, drain"}
	assert.Equal(t, len(clients), l.queued(), "%s (%s)", s.rule, s.look)
	connect(40) // although no process accepts
	second := l.startServer(t)
	for _, c := range clients {
		s := s.readAll(c)
		s.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
		s.wantCleanEnd(t)
	}
	requireStops(t, second)
}

// Each of three successors takes over while clients connect as fast as they can. None of
// them is refused or reset.
func TestHandoverUnderLoadLosesNoConnection(t *testing.T) {
	t.Parallel()
	l := listenForOthers(t)
	server := l.startServer(t)
	var done atomic.Bool
	var answered atomic.Int64
	var all sync.WaitGroup
	for n := range 20 {
		request, answer := get("/", closeField), "Hello, World!\n"
		if n%2 == 1 {
			answer = fmt.Sprint("body ", n)
			request = post("/echo", answer, closeField)
		}
		all.Go(func() { // until done, or a request is lost
			for !done.Load() {
				if !assert.NoError(t, askOnce(l.addr, request, answer), "house rule: a handover loses no connection (drain.go, drain)") {
					return
				}
				answered.Add(1)
			}
		})
	}
	defer func() {
		done.Store(true)
		waitGroup(t, &all, "all clients of the test end")
	}()

	for n := range 3 {
		before := answered.Load()
		eventually(t, "clients are served", func() bool { return answered.Load() > before+100 || t.Failed() })
		old := server
		server = l.startServer(t)
		requireStops(t, old)
		t.Logf("handover %d: %d requests answered so far", n+1, answered.Load())
	}
	before := answered.Load()
	eventually(t, "the last server serves", func() bool { return answered.Load() > before+100 || t.Failed() })
	done.Store(true)
	waitGroup(t, &all, "all clients of the test end")
	requireStops(t, server)
}

// askOnce sends request on a connection of its own. The response must end in answer.
func askOnce(addr, request, answer string) error {
	c, err := net.DialTimeout("tcp", addr, maxWait)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(maxWait))
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	got, err := io.ReadAll(c)
	if err == nil && !strings.HasSuffix(string(got), answer) {
		err = fmt.Errorf("the response is %q", got)
	}
	return err
}
