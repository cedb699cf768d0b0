package main

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/notes/steps"
)

// notes/judged/reference.py ends after any step when asked to. The judge is fair
// if it stops at the next one, whichever step that is.

// seenNowhere are steps that change how a program works, not what a client sees:
// the judge passes a program without them. Their text says so.
var seenNowhere = map[string]string{
	"4.1": "A server with the buffer of step 3.1 does that already, and the judge cannot count your writes",
}

const manyWalks = 4 // at a time: most of a walk is waiting

// walks runs the judge of a part on each command, and returns the runs by command.
// All have ended.
func walks(t *testing.T, part string, commands ...string) map[string]*judging {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	w := walk{root: "../..", part: part}
	require.NoError(t, w.prepare(t.Context()))
	t.Cleanup(func() { os.RemoveAll(w.scratch) })
	all := map[string]*judging{}
	var mu sync.Mutex // guards all
	var group sync.WaitGroup
	turn := make(chan bool, manyWalks)
	for _, command := range commands {
		turn <- true
		j := beginPart(t, part, w.binary, "", "SERVER=echo $$ >>$PIDS; export PYTHONDONTWRITEBYTECODE=1; "+command)
		group.Go(func() {
			defer func() { <-turn }()
			j.Wait() // ends with the judge, which has three minutes
			mu.Lock()
			defer mu.Unlock()
			all[command] = j
		})
	}
	group.Wait()
	return all
}

// firstFailure returns the number of the step at which the judge stopped, or "".
func (j *judging) firstFailure() string {
	for line := range strings.Lines(j.printed.all()) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "FAIL" {
			return fields[1]
		}
	}
	return ""
}

func upTo(step string) string { return "UPTO=" + step + " exec python3 notes/judged/reference.py" }

func TestJudgeStopsAfterTheLastStepThatIsBuilt(t *testing.T) { // not parallel: its walks are
	for _, part := range []string{"1", "3"} {
		all, err := steps.Load("../..", part)
		require.NoError(t, err)
		var commands []string
		for _, step := range all {
			commands = append(commands, upTo(step.Number))
		}

		runs := walks(t, part, commands...)

		for i, step := range all {
			next, status := "", 0
			for _, later := range all[i+1:] {
				if later.Judged() && seenNowhere[later.Number] == "" {
					next, status = later.Number, 1
					break
				}
			}
			j := runs[upTo(step.Number)]
			assert.Equal(t, next, j.firstFailure(), "the judge stops there when the program ends after step %s:\n%s", step.Number, &j.printed)
			assert.Equal(t, status, j.ProcessState.ExitCode())
			assert.Contains(t, step.Now, seenNowhere[step.Number])
			assert.Empty(t, j.left(), "no process is left")
		}
	}
}
