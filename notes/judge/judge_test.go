package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary be the judge, and each of the servers below.
func TestMain(m *testing.M) {
	if kind := os.Getenv("BE_SERVER"); kind != "" {
		serve(kind)
		return
	}
	if os.Getenv("BE_JUDGE") != "" {
		main()
	}
	status := m.Run()
	os.RemoveAll(filepath.Dir(tests.file))
	os.Exit(status)
}

// serve is a server with one fault.
func serve(kind string) {
	signal.Ignore(syscall.SIGPIPE)
	switch kind {
	case "exits":
		fmt.Println("these are my last words")
		os.Exit(3)
	case "never listens":
		time.Sleep(time.Hour)
	case "slow":
		time.Sleep(time.Second)
	case "ignores SIGTERM":
		signal.Ignore(syscall.SIGTERM)
	case "daemon":
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "BE_SERVER=right")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		child.Start()
		notePid(child.Process.Pid)
		return
	case "forks":
		child := exec.Command("sleep", "3600")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		child.Start()
		notePid(child.Process.Pid)
	case "prints":
		go func() { // to the end of the process
			for {
				fmt.Println(strings.Repeat("noise ", 100))
			}
		}()
	}
	notePid(os.Getpid())
	l, err := net.Listen("tcp", os.Getenv("ADDR"))
	if err != nil {
		panic(err)
	}
	if kind == "hangs" {
		time.Sleep(time.Hour)
	}
	if kind != "ignores SIGTERM" {
		l = stoppable(l)
	}
	http.Serve(strict{l}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch kind {
		case "dies":
			fmt.Println("goodbye")
			os.Exit(4)
		case "never closes":
			w.(http.Flusher).Flush()
			time.Sleep(time.Hour)
		}
		io.Copy(io.Discard, r.Body) // net/http resets a client whose body it has not read
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, "Hello, World!\n")
	}))
}

// A draining listener says after SIGTERM that it is closed, as soon as its queue is empty.
type draining struct{ *net.TCPListener }

func stoppable(l net.Listener) net.Listener {
	d := draining{l.(*net.TCPListener)}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() { // to the end of the process
		<-signals
		d.SetDeadline(time.Now().Add(200 * time.Millisecond)) // what is queued is accepted at once
	}()
	return d
}

func (d draining) Accept() (net.Conn, error) {
	c, err := d.TCPListener.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = net.ErrClosed // another would be tried again
	}
	return c, err
}

// A strict listener's connections leave out the content with which net/http's parser
// answers a HEAD that it refuses.
type strict struct{ net.Listener }

func (l strict) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &strictConn{TCPConn: c.(*net.TCPConn)}, nil
}

type strictConn struct {
	*net.TCPConn
	method []byte // the first five bytes read
}

func (c *strictConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.method = append(c.method, p[:min(n, 5-len(c.method))]...)
	return n, err
}

func (c *strictConn) Write(p []byte) (int, error) {
	head, _, _ := strings.Cut(string(p), "\r\n\r\n")
	if string(c.method) == "HEAD " && strings.HasPrefix(head, "HTTP/1.1 4") {
		_, err := io.WriteString(c.TCPConn, head+"\r\n\r\n")
		return len(p), err
	}
	return c.TCPConn.Write(p)
}

// notePid adds a process to those that must be gone at the end.
func notePid(pid int) {
	f, err := os.OpenFile(os.Getenv("PIDS"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		fmt.Fprintln(f, pid)
		f.Close()
	}
}

// tests are those of part 1, compiled once.
var tests struct {
	once sync.Once
	file string
}

func compiled(t testing.TB) string {
	t.Helper()
	tests.once.Do(func() {
		w := walk{root: "../..", part: "1"}
		require.NoError(t, w.prepare(t.Context()))
		tests.file = w.binary
	})
	return tests.file
}

// A judging is a run of the judge.
type judging struct {
	*exec.Cmd
	printed tail // of 64,000 bytes
	pids    string
}

// begin starts the judge on a server of that kind, or a command of the shell.
func begin(t testing.TB, kind string, env ...string) *judging {
	t.Helper()
	return beginPart(t, "1", compiled(t), kind, env...)
}

// beginPart is begin for any part, whose tests are compiled.
func beginPart(t testing.TB, part, tests, kind string, env ...string) *judging {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	j := &judging{pids: filepath.Join(t.TempDir(), "pids")}
	j.Cmd = exec.CommandContext(ctx, self, "-root", root, "-part", part, "-tests", tests)
	j.Env = append(os.Environ(), "BE_JUDGE=yes", "PIDS="+j.pids, "GORACE=atexit_sleep_ms=0", "PATIENCE=8s", "SERVER=BE_SERVER='"+kind+"' exec "+self)
	j.Env = append(j.Env, env...)
	j.Stdout, j.Stderr = &j.printed, &j.printed
	j.WaitDelay = time.Second
	require.NoError(t, j.Start())
	return j
}

// left returns the noted processes that still run.
func (j *judging) left() (left []int) {
	text, _ := os.ReadFile(j.pids)
	for _, field := range strings.Fields(string(text)) {
		var pid int
		fmt.Sscan(field, &pid)
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if syscall.Kill(pid, 0) == nil && !strings.Contains(string(stat), ") Z ") {
			left = append(left, pid)
		}
	}
	return left
}

func TestJudgeSaysWhatIsWrongWithAServer(t *testing.T) {
	t.Parallel()
	for kind, c := range map[string]struct {
		status int
		says   []string
	}{
		"right":           {0, []string{"ok    1.5 ", "ok    1.6 ", "Passed: all 6."}},
		"slow":            {0, []string{"Passed: all 6.\nYour server took "}},
		"prints":          {0, []string{"Passed: all 6."}},
		"forks":           {0, []string{"Passed: all 6."}},
		"ignores SIGTERM": {1, []string{"FAIL  1.6", "the server still runs 6s after SIGTERM", "Your server did not end within 1s after SIGTERM, so the judge killed it."}},
		"exits":           {1, []string{"Your server ended (exit status 3) before it listened on $ADDR (127.0.0.1:", "Your server printed:\n      these are my last words\n", "FAIL  1.1", "--    1.2", "Passed: 0. Next: 1.1 "}},
		"never listens":   {1, []string{"Your server runs, but does not listen on $ADDR (127.0.0.1:"}},
		"daemon":          {1, []string{"let the server run in the foreground"}},
		"hangs":           {1, []string{"FAIL  1.2", `want "HTTP/1.1 200 " (the connection is still open, and nothing more came in time)`, "sent: \"GET / HTTP/1.1"}},
		"dies":            {1, []string{"FAIL  1.2", "Your server ended (exit status 4) while it was judged", "Your server printed:\n      goodbye\n"}},
		"never closes":    {1, []string{"FAIL  1.2", "hint: ", "read: notes/01-hello.md, Step 1.2"}},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()

			j := begin(t, kind)
			j.Wait()

			assert.Equal(t, c.status, j.ProcessState.ExitCode(), "%s", j.printed.all())
			for _, text := range c.says {
				assert.Contains(t, j.printed.all(), text)
			}
			assert.Empty(t, j.left(), "no process is left")
		})
	}
}

func TestCommandThatIsNotThere(t *testing.T) {
	t.Parallel()
	j := begin(t, "", "SERVER=no-such-command")

	j.Wait()

	assert.Equal(t, 1, j.ProcessState.ExitCode())
	assert.Contains(t, j.printed.all(), "the shell did not find the command")
}

// After ^C nothing is left, nor after SIGKILL, which the judge cannot see.
func TestServerEndsWithTheJudge(t *testing.T) {
	t.Parallel()
	for _, s := range []struct {
		signal syscall.Signal
		status int
	}{{syscall.SIGINT, 130}, {syscall.SIGTERM, 130}, {syscall.SIGKILL, -1}} {
		j := begin(t, "hangs", "PATIENCE=20s")
		runs := func() bool { return len(j.left()) > 0 }
		require.Eventually(t, runs, 20*time.Second, time.Millisecond, "the server runs")

		require.NoError(t, j.Process.Signal(s.signal))
		j.Wait()

		assert.Equal(t, s.status, j.ProcessState.ExitCode(), "after %v", s.signal)
		assert.Eventually(t, func() bool { return !runs() }, 20*time.Second, time.Millisecond, "the server is gone after %v", s.signal)
	}
}

func TestOneStepAloneAndAllSteps(t *testing.T) {
	t.Parallel()
	one := begin(t, "hangs", "STEP=1.1")
	all := begin(t, "dies", "ALL=1")
	none := begin(t, "right", "STEP=1.9")
	unjudged := beginPart(t, "3", compiled(t), "right", "STEP=4.2") // which has no tests
	one.Wait()
	all.Wait()
	none.Wait()
	unjudged.Wait()

	assert.Equal(t, 0, one.ProcessState.ExitCode(), "%s", one.printed.all())
	assert.NotContains(t, one.printed.all(), "1.2 One connection")
	assert.Equal(t, 1, all.ProcessState.ExitCode())
	assert.Contains(t, all.printed.all(), "FAIL  1.5", "a server that died is started again")
	assert.Equal(t, 2, none.ProcessState.ExitCode())
	assert.Contains(t, none.printed.all(), "part 1 has no step 1.9; it has 1.1 to 1.6")
	assert.Equal(t, 0, unjudged.ProcessState.ExitCode())
	assert.Contains(t, unjudged.printed.all(), "Step 4.2 is not judged.\n")
	assert.NotContains(t, unjudged.printed.all(), "Passed")
}

// Part 3's serial driver is right in all but one thing, and part 1's server closes
// after each response. The judge stops at exactly the step that each lacks.
func TestJudgeStopsAtTheStepThatAServerLacks(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./part1-hello", "./part3-pipelining")
	build.Dir = "../.."
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	w := walk{root: "../..", part: "3"}
	require.NoError(t, w.prepare(t.Context()))
	t.Cleanup(func() { os.RemoveAll(w.scratch) })
	for command, says := range map[string]string{
		"/part3-pipelining -addr $ADDR -wait goroutines -head-time ${TIME_LIMIT:-10}s -body-time ${TIME_LIMIT:-10}s -idle-time ${TIME_LIMIT:-30}s -write-time ${TIME_LIMIT:-20}s": "Passed: all 16.",
		"/part3-pipelining -addr $ADDR -wait serial": "Passed: 11. Next: 4.3 ",
		"/part1-hello -addr $ADDR":                   "Passed: 0. Next: 3.1 ",
	} {
		j := beginPart(t, "3", w.binary, "", "SERVER=exec "+bin+command)

		j.Wait()

		assert.Contains(t, j.printed.all(), says, command)
	}
}

func TestWatchJudgesAgainWhenTheFileChanges(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "my.py")
	require.NoError(t, os.WriteFile(file, []byte("one"), 0o600))
	j := begin(t, "right", "STEP=1.1", "WATCH="+file)
	walked := func(times int) func() bool {
		return func() bool { return strings.Count(j.printed.all(), "Waiting for a change of "+file) == times }
	}
	require.Eventually(t, walked(1), 20*time.Second, time.Millisecond, "the first walk")

	require.NoError(t, os.WriteFile(file, []byte("two, and longer"), 0o600))

	assert.Eventually(t, walked(2), 20*time.Second, time.Millisecond, "the second walk")
	require.NoError(t, j.Process.Signal(syscall.SIGINT))
	j.Wait()
	assert.Equal(t, 130, j.ProcessState.ExitCode())
	assert.Empty(t, j.left(), "no process is left")
}
