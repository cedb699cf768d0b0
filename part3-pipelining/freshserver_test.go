package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A freshServer is another instance of the server that is judged, or of ours, for one
// test alone: it may have other limits, and may be stopped.
type freshServer struct {
	addr   string
	exited <-chan error // delivers how its command ended
	end    func()       // kills it, and returns when it has ended
}

// startFresh starts an instance and returns when it listens. One that is judged gets
// environment, as TIME_LIMIT=1; ours gets flags. The instance ends with the test.
func startFresh(t testing.TB, environment string, flags ...string) freshServer {
	t.Helper()
	f := launch(t, claimAddr(t), environment, flags...)
	if !f.awaitListening() {
		failedWaits.Add(1)
		t.Fatal("timed out waiting until a second instance of the server listens on $ADDR")
	}
	return f
}

// launch is startFresh at an address that is the test's, and does not wait.
func launch(t testing.TB, addr, environment string, flags ...string) freshServer {
	t.Helper()
	skipIfHung(t)
	f := freshServer{addr: addr}
	var cmd *exec.Cmd
	var kill func()
	if command := os.Getenv("SERVER"); command == "" {
		cmd = programCommand(t, append([]string{"serve", "-addr", f.addr}, flags...)...)
		kill = func() { cmd.Process.Kill() }
	} else {
		cmd = exec.Command("sh", "-c", command)
		cmd.WaitDelay = time.Second
		kill = killWithTest(t, cmd)
	}
	if os.Getenv("JUDGED") != "" {
		cmd.Dir = ".." // where the judge starts the server
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "ADDR="+f.addr, environment)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	require.NoError(t, cmd.Start())
	exited := exitStatusChan(cmd)
	f.exited, f.end = exited, func() { kill(); <-exited }
	t.Cleanup(func() {
		f.end()
		const shown = 4000 // bytes of output, from the end
		if text := output.String(); t.Failed() && text != "" {
			t.Logf("the server of this test printed:\n%s", text[max(0, len(text)-shown):])
		}
	})
	return f
}

// awaitListening returns whether the instance listens before it ends, and in time.
func (f freshServer) awaitListening() bool {
	for end := time.Now().Add(patience()); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if c, err := net.DialTimeout("tcp", f.addr, time.Second); err == nil {
			c.Close()
			return true
		}
		select {
		case <-f.exited:
			return false
		default:
		}
	}
	return false
}

// claimAddr returns an address that no socket has. Its port is one that the kernel does
// not give to clients, who could take it before the server does; and until the test ends
// no other test gets it, because it also has the UDP port of that number.
func claimAddr(t testing.TB) (addr string) {
	t.Helper()
	for range 100 {
		addr = fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(22_000))
		claim, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		if free, err := net.Listen("tcp", addr); err == nil {
			free.Close()
			t.Cleanup(func() { claim.Close() })
			return addr
		}
		claim.Close()
	}
	t.Fatal("no free port in a hundred tries")
	return ""
}

// freeze stops the server's processes with SIGSTOP: the kernel completes the handshakes
// of its clients meanwhile, and the server does not know of them. terminateFrozen sends
// SIGTERM, and lets the processes run.
func (f freshServer) freeze(t testing.TB) (terminateFrozen func()) {
	t.Helper()
	all, first := f.listeners(t)
	signalAll(t, all, syscall.SIGSTOP)
	eventually(t, "the server's processes are stopped", func() bool { return areStopped(all) })
	return func() {
		signalAll(t, first, syscall.SIGTERM)
		signalAll(t, all, syscall.SIGCONT)
	}
}

func (f freshServer) listeners(t testing.TB) (all, first []int) {
	t.Helper()
	if all, first = listeners(t, f.addr); len(all) == 0 {
		t.Skip("only Linux says which process listens on an address")
	}
	return all, first
}

const exitTime = 6 * time.Second // from SIGTERM

// wantExit requires the server to have ended, with status 0, within exitTime.
func (f freshServer) wantExit(t testing.TB, look string) {
	t.Helper()
	const rule = "house rule: after SIGTERM a server answers what it has to, and ends with status 0 within six seconds"
	select {
	case err := <-f.exited:
		assert.NoError(t, err, "the server ended with another status than 0\n  rule: %s\n  look: %s", rule, look)
	case <-time.After(exitTime):
		t.Fatalf("the server still runs %v after SIGTERM\n  rule: %s\n  look: %s", exitTime, rule, look)
	}
}
