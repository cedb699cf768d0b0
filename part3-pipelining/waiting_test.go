package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A test never hangs: every wait has a deadline, and every server that a test
// started ends with the test, even if the test is killed.

// maxWait is the longest that a test waits for any one thing.
const maxWait = 10 * time.Second

// firstPatience is how long the first wait that fails may take. For a server
// that is slow to start, set it: PATIENCE=30s make judge.
var firstPatience = func() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("PATIENCE")); err == nil && d > 0 {
		return d
	}
	return maxWait
}()

// failedWaits counts the waits that timed out and failed a test; anyLate is set
// as soon as one times out, before its test has failed.
var (
	failedWaits atomic.Int32
	anyLate     atomic.Bool
)

// maxFailedWaits failed waits mean that the server hangs. The remaining tests
// would only find the same, each after its own timeout, so they are skipped.
const maxFailedWaits = 5

// patience is how long a test waits for something that should happen: a tenth
// of a second would do on most machines. After a wait has failed, later ones
// are shorter.
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

// skipIfHung skips the test when maxFailedWaits waits have failed. Every test
// of a server calls it first.
func skipIfHung(t testing.TB) {
	t.Helper()
	registerTest(t)
	if failedWaits.Load() >= maxFailedWaits {
		hungOnce.Do(func() {
			fmt.Fprintln(os.Stderr, "the server hangs: too many waits have failed, so the remaining tests are skipped")
		})
		t.Skip("skipped: the server hung in earlier tests")
	}
}

// waitTogether makes more tests run at a time than there are processors, unless
// -parallel says how many: most of them wait. With -race they compute. TestMain
// calls it.
func waitTogether() {
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	build, known := debug.ReadBuildInfo()
	race := known && slices.Contains(build.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
	if !race && !given["test.parallel"] && !given["test.fuzz"] { // a fuzzer has as many processes
		flag.Set("test.parallel", "8")
	}
}

// receive receives from c, or fails the test after patience.
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
		t.Fatalf("timed out waiting for: %s", what)
	}
	return v
}

// eventually waits until reached returns true, and fails the test if it does
// not within the limit.
func eventually(t testing.TB, state string, reached func() bool) {
	t.Helper()
	if !assert.Eventually(silentT{}, reached, patience(), time.Millisecond) {
		failedWaits.Add(1)
		t.Fatalf("timed out waiting until %s", state)
	}
}

// silentT is an assert.TestingT that discards failure messages.
type silentT struct{}

func (silentT) Errorf(string, ...any) {}

// killWithTest is called before cmd starts. It makes cmd and all processes that
// it starts end when end is called, when the test ends, or when this process
// ends, even by SIGKILL: a shell leads their process group, and kills it on EOF
// of a pipe whose write end only this process holds.
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

// waitExit waits until cmd, which has been started, exits, and returns its
// error from Wait; it fails the test if cmd does not exit in time.
func waitExit(t testing.TB, cmd *exec.Cmd) error {
	t.Helper()
	return receive(t, exitStatusChan(cmd), "the program exits")
}

// exitStatusChan returns a channel that delivers the result of cmd.Wait once
// and is then closed.
func exitStatusChan(cmd *exec.Cmd) <-chan error {
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait(); close(exited) }() // ends when cmd exits; the test kills it in the end
	return exited
}

// A timeoutReader reads a program's output; a read fails when no output arrives
// in time.
type timeoutReader struct{ *os.File }

func (p timeoutReader) Read(b []byte) (int, error) {
	p.SetReadDeadline(time.Now().Add(patience()))
	return p.File.Read(b)
}

// outputPipes returns readers of what cmd, which has not been started, will
// print.
func outputPipes(t testing.TB, cmd *exec.Cmd) (stdout, stderr io.Reader) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	log, err := cmd.StderrPipe()
	require.NoError(t, err)
	return timeoutReader{out.(*os.File)}, timeoutReader{log.(*os.File)}
}
