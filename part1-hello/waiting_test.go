package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A test never hangs: every wait has a deadline, and a server that was started
// ends with the test, however that ends.

// maxWait bounds every wait of a test that could otherwise hang.
const maxWait = 10 * time.Second

// firstPatience is how long the first wait in vain may take. For a server that is slow
// to start, or one that is known to hang, say so: PATIENCE=30s make judge.
var firstPatience = func() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("PATIENCE")); err == nil && d > 0 {
		return d
	}
	return maxWait
}()

// failedWaits counts the waits that ended a test; anyLate says that there was any, which
// may not have ended one yet.
var (
	failedWaits atomic.Int32
	anyLate     atomic.Bool
)

// maxFailedWaits of them say that the server hangs. The tests that are left would only
// say so again, each after its time.
const maxFailedWaits = 5

// patience is how long to wait for what should come: a tenth of a second would
// do on most machines. After waits in vain the others get less time.
func patience() time.Duration {
	switch n := failedWaits.Load(); {
	case n == 0 && !anyLate.Load():
		return firstPatience
	case n < maxFailedWaits:
		return firstPatience / 5
	}
	return firstPatience / 20
}

var hungOnce sync.Once

// skipIfHung is called first by every test of a server. It skips those that are
// left when too many have waited in vain.
func skipIfHung(t testing.TB) {
	t.Helper()
	registerTest(t)
	if failedWaits.Load() >= maxFailedWaits {
		hungOnce.Do(func() {
			fmt.Fprintln(os.Stderr, "the server does not do what the tests wait for: those that are left are not run")
		})
		t.Skip("left out: others have waited in vain")
	}
}

// receive receives from c, or ends the test.
func receive[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	return receiveWithin(t, patience(), c, what)
}

func receiveWithin[T any](t testing.TB, d time.Duration, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(d):
		failedWaits.Add(1)
		t.Fatalf("waited in vain for: %s", what)
	}
	return v
}

// eventually waits for a state and fails the test when it has not come within
// the limit.
func eventually(t testing.TB, state string, reached func() bool) {
	t.Helper()
	if !assert.Eventually(silentT{}, reached, patience(), time.Millisecond) {
		failedWaits.Add(1)
		t.Fatalf("waited in vain until %s", state)
	}
}

// silentT is where an assertion says nothing.
type silentT struct{}

func (silentT) Errorf(string, ...any) {}

// killWithTest is called before cmd starts, and makes it and all that it starts end
// when end is called, when the test ends, or when this process does, be it by
// SIGKILL: a shell leads their process group, and kills it when the pipe that
// only we hold open comes to its end.
func killWithTest(t testing.TB, cmd *exec.Cmd) (end func()) {
	t.Helper()
	keeper := exec.Command("sh", "-c", "read -r _; kill -KILL 0")
	keeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := keeper.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, keeper.Start())
	end = sync.OnceFunc(func() { pipe.Close(); keeper.Wait() })
	t.Cleanup(end)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: keeper.Process.Pid}
	return end
}

// waitExit waits until cmd, which was started, has ended, and returns what it
// ended with; a program that does not end ends the test.
func waitExit(t testing.TB, cmd *exec.Cmd) error {
	t.Helper()
	return receive(t, exitStatusChan(cmd), "the program ends")
}

// exitStatusChan says once with what cmd ended, and is closed then.
func exitStatusChan(cmd *exec.Cmd) <-chan error {
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait(); close(exited) }() // ends when the test kills it, if not before
	return exited
}

// A timeoutReader reader is a program's output: a read ends with an error when
// nothing comes in time.
type timeoutReader struct{ *os.File }

func (p timeoutReader) Read(b []byte) (int, error) {
	p.SetReadDeadline(time.Now().Add(patience()))
	return p.File.Read(b)
}

// outputPipes are what cmd, before it starts, will print.
func outputPipes(t testing.TB, cmd *exec.Cmd) (stdout, stderr io.Reader) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	log, err := cmd.StderrPipe()
	require.NoError(t, err)
	return timeoutReader{out.(*os.File)}, timeoutReader{log.(*os.File)}
}
