package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A judging is a run of this part's tests against another server, as `make
// judge` starts it.
type judging struct {
	*exec.Cmd
	printed bytes.Buffer
	pids    string // a file with the process that the server's command ran in, for each test
}

// judge starts the tests; command is what they find in $SERVER, and patience what
// they find in $PATIENCE. In command SELF is our own program.
func judge(t testing.TB, command string, patience time.Duration) *judging {
	t.Helper()
	skipIfJudging(t)
	self, err := os.Executable()
	require.NoError(t, err)
	j := &judging{pids: filepath.Join(t.TempDir(), "pids")}
	j.Cmd = exec.CommandContext(t.Context(), self, "-test.v", "-test.parallel=1", "-test.timeout=10m")
	j.Env = append(os.Environ(), "SERVER=echo $$ >>"+j.pids+"; "+strings.ReplaceAll(command, "SELF", "BE_THE_PROGRAM=yes "+self), "PATIENCE="+patience.String())
	j.Stdout, j.Stderr = &j.printed, &j.printed
	j.WaitDelay = time.Second
	killWithTest(t, j.Cmd)
	require.NoError(t, j.Start())
	return j
}

// left are the processes of the servers that are still there.
func (j *judging) left() (left []int) {
	text, _ := os.ReadFile(j.pids)
	for _, field := range strings.Fields(string(text)) {
		var pid int
		fmt.Sscan(field, &pid)
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		dead := strings.Contains(string(stat), ") Z ") // and init has not looked yet
		if syscall.Kill(pid, 0) == nil && !dead {
			left = append(left, pid)
		}
	}
	return left
}

// With BE_SILENT the test binary is a server that listens and does not accept:
// its kernel shakes hands.
func init() {
	if os.Getenv("BE_SILENT") == "" {
		return
	}
	if _, err := listen(os.Getenv("ADDR"), backlog); err != nil {
		panic(err)
	}
	time.Sleep(time.Hour)
}

// With nine tests, and ten seconds for each wait, these took a minute and a
// half.
func TestJudgeEndsInTimeWhateverTheServerDoes(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	for name, c := range map[string]struct{ server, says string }{
		"never starts": {"sleep 1000", "the server in $SERVER does not listen on $ADDR (127.0.0.1:"},
		"dies":         {"echo last words; exit 3", "the server in $SERVER ended (exit status 3) before it listened on $ADDR (127.0.0.1:"},
		"hangs":        {"BE_SILENT=yes SELF", `want "HTTP/1.1 200 " (the connection is still open, and nothing more came in time)`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			j, err := judgeToTheEnd(t, c.server, time.Second)
			if !strings.Contains(j.printed.String(), c.says) { // a busy machine may need longer to start a server
				j, err = judgeToTheEnd(t, c.server, maxWait)
			}

			assert.Equal(t, 1, exitStatus(t, err))
			assert.Contains(t, j.printed.String(), c.says)
			assert.NotContains(t, j.printed.String(), "panic:")
			assert.Empty(t, j.left(), "house rule: no server outlives its test. waiting_test.go, killWithTest")
			if name == "dies" {
				assert.Contains(t, j.printed.String(), "printed:\n        last words")
			}
		})
	}
}

// judgeToTheEnd is a judging that has ended, and its exit status.
func judgeToTheEnd(t testing.TB, command string, patience time.Duration) (*judging, error) {
	t.Helper()
	j := judge(t, command, patience)
	return j, receiveWithin(t, 4*maxWait, exitStatusChan(j.Cmd), "the judge ends")
}

// Not even ^C or SIGKILL leaves one behind.
func TestServerEndsWithItsJudge(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{os.Interrupt, os.Kill} {
		j := judge(t, "sleep 1000 & wait", maxWait)
		eventually(t, "the server runs", func() bool { return len(j.left()) > 0 })

		require.NoError(t, j.Process.Signal(signal))

		require.Error(t, waitExit(t, j.Cmd))
		eventually(t, fmt.Sprintf("the server is gone after %v", signal), func() bool { return len(j.left()) == 0 })
	}
}

// What a failure says, for the faults that servers begin with.
func TestFailureShowsWantedAndReceived(t *testing.T) {
	skipIfJudging(t)
	for says, s := range map[string]transcript{
		`want "HTTP/1.1 431 " (the connection ended with FIN)`:                             {got: "HTTP/1.1 400 Bad Request\r\n"},
		`want "HTTP/1.1 431 " (the connection ended with RST: connection reset by peer)`:   {end: syscall.ECONNRESET},
		`want "HTTP/1.1 431 " (the connection is still open, and nothing more came in tim`: {end: os.ErrDeadlineExceeded},
		`answer 2 of 3: want "HTTP/1.1 431 "`:                                              {label: "answer 2 of 3", before: "HTTP/1.1 200 OK\r\n"},
		"sent: \"GET /aaaaaaaa...(4194304 times) HTTP/1.1\"\n":                             {sent: "GET /" + strings.Repeat("a", 4<<20) + " HTTP/1.1"},
		"got:  \"first answersecond\"\n        " + strings.Repeat(" ", 13) + "^ here":      {before: "first answer", got: "second"},
	} {
		waits := failedWaits.Load()

		assert.Contains(t, failureOf(func(t testing.TB) { s.wantPrefix(t, "HTTP/1.1 431 ") }), says)

		failedWaits.Store(waits) // this one was not in vain
	}
}

// The caret stands where the mistake is, and the rule is the one that is broken.
func TestFailureOfAFieldPointsAtTheField(t *testing.T) {
	skipIfJudging(t)
	const lengthless = "HTTP/1.1 200 OK\r\nDate: today\r\n\r\n"
	began := time.Now()
	long := transcript{got: "HTTP/1.1 200 OK\r\n" + strings.Repeat("a: b\r\n", 20), end: os.ErrDeadlineExceeded, sent: get}
	for says, check := range map[string]func(testing.TB){
		caretAfter(`HTTP/1.1 200 OK\r\nDate: today\r\n`):    func(t testing.TB) { transcript{got: lengthless}.wantFramed(t) },
		"not in this format: Mon, 02 Jan 2006 15:04:05 GMT": func(t testing.TB) { wantDateIn(t, lengthless, began) },
		caretAfter(`HTTP/1.1 200 OK\r\n`):                   func(t testing.TB) { wantDateIn(t, lengthless, began) },
		"the response has no Date":                          func(t testing.TB) { wantDateIn(t, "HTTP/1.1 200 OK\r\n\r\n", began) },
		`got:  ..."`:                                        func(t testing.TB) { long.wantCleanEnd(t) },
		"rule: MUST, RFC 9112 §9.6":                         func(t testing.TB) { long.wantCleanEnd(t) },
	} {
		waits := failedWaits.Load()

		assert.Contains(t, failureOf(check), says)

		failedWaits.Store(waits) // this one was not in vain
	}
}

// caretAfter is the line with the caret, after what is quoted before it.
func caretAfter(quoted string) string {
	return "\n        " + strings.Repeat(" ", len(`"`+quoted)) + "^ here"
}

func wantDateIn(t testing.TB, got string, began time.Time) {
	s := transcript{got: got}
	s.wantDate(t, s.parse(t), began)
}

// failureOf is what a test says that fails.
func failureOf(test func(testing.TB)) string {
	f := failing{said: make(chan string, 1)}
	go func() { test(f) }() // ends with the failure
	return <-f.said
}

type failing struct {
	testing.TB
	said chan string
}

func (failing) Helper() {}

func (f failing) Fatalf(format string, args ...any) {
	f.said <- fmt.Sprintf(format, args...)
	runtime.Goexit()
}
