package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A server that panics ends the test process, and what the Go runtime prints
// then names no test. So the tests write to a pipe when they begin and end, and
// the runtime writes its crash report to the same pipe (debug.SetCrashOutput).
// Another process, the witness, reads the pipe and prints which tests were
// running.

// witness is the pipe to the witness process; nil when there is none.
var witness *os.File

// callWitness starts the witness process. If that fails, the tests run without
// one.
func callWitness() {
	self, err := os.Executable()
	if err != nil {
		return
	}
	read, write, err := os.Pipe()
	if err != nil {
		return
	}
	defer read.Close()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "BE_THE_WITNESS=yes")
	cmd.Stdin, cmd.Stderr = read, os.Stderr
	if cmd.Start() == nil && debug.SetCrashOutput(write, debug.CrashOptions{}) == nil {
		witness = write // until this process ends
	}
}

// beWitness is the main function of the witness process. It exits when the test
// process has closed the pipe.
func beWitness() {
	heard, _ := io.ReadAll(os.Stdin)
	fmt.Fprint(os.Stderr, testimony(string(heard)))
	os.Exit(0)
}

var noted sync.Map // names of the tests that the witness has been told of

// registerTest tells the witness that t has begun, and when it ends.
func registerTest(t testing.TB) {
	name := t.Name()
	if _, known := noted.LoadOrStore(name, true); known || witness == nil {
		return
	}
	fmt.Fprintf(witness, "begins %s\n", name)
	t.Cleanup(func() {
		noted.Delete(name)
		fmt.Fprintf(witness, "ends %s\n", name)
	})
}

var ownFrame = regexp.MustCompile(`(?m)^\t(.*/part\d[^/]*/(?:[^/]+/)?[^/]+\.go:\d+)`)

// testimony returns the report of a crash in what the witness has read from the
// pipe; "" when nothing crashed.
func testimony(heard string) string {
	at := regexp.MustCompile(`(?m)^(panic|fatal error): `).FindStringIndex(heard)
	if at == nil {
		return ""
	}
	var running, where []string
	for line := range strings.Lines(heard[:at[0]]) {
		what, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if what == "begins" {
			running = append(running, name)
		} else {
			running = slices.DeleteFunc(running, func(s string) bool { return s == name })
		}
	}
	said, stacks, _ := strings.Cut(heard[at[0]:], "\n\n")
	first, _, _ := strings.Cut(stacks, "\n\n")
	for _, m := range ownFrame.FindAllStringSubmatch(first, 3) {
		where = append(where, filepath.Base(m[1]))
	}
	return fmt.Sprintf("\nThe program under test crashed, and the test process with it.\n  said:  %s\n  at:    %s\n  while: %s ran\n  rule:  house rule: whatever a client sends, the server does not panic\n  look:  run the last of these tests alone, with -run\n",
		strings.ReplaceAll(said, "\n", "\n         "), strings.Join(where, ", called at "), strings.Join(running, ", "))
}

func TestServerPanicIsReported(t *testing.T) {
	skipIfJudging(t)
	heard := "begins TestA\nbegins TestB\nends TestA\npanic: slot completed twice\n\ngoroutine 7 [running]:\n" +
		"socketup/part3-pipelining/server.(*slotQueue).complete(...)\n\t/home/me/part3-pipelining/server/slot.go:50\n" +
		"runtime.x()\n\t/usr/lib/go/src/runtime/x.go:1 +0x1\nsocketup/part3-pipelining.(*conn).complete(0xf3)\n\t/home/me/part3-pipelining/conn.go:227 +0x205\n\n" +
		"goroutine 8 [running]:\nmain.f()\n\t/home/me/part3-pipelining/other.go:1\n"

	told := testimony(heard)

	assert.Contains(t, told, "  said:  panic: slot completed twice\n  at:    slot.go:50, called at conn.go:227\n  while: TestB ran\n")
	assert.Empty(t, testimony("begins TestA\nends TestA\n"))
}
