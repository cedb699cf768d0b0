package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/notes/steps"
)

// notes/judged/reference.py ends after any step when asked to. The judge is fair
// if it stops at the next one, whichever step that is. With one change each,
// notes/judged/changed.py is a server that is right and unusual, or wrong. For
// gateways these are gateway.py and changed_gateway.py, and for clients pool_client.py and
// changed_client.py.

// seenNowhere are steps that change how a program works, not what a client sees:
// the judge passes a program without them. Their text says so.
var seenNowhere = map[string]string{
	"4.1": "A server with the buffer of step 3.1 does that already, and the judge cannot count your writes",
}

// A server is judged: its command, and what the judge is told in the environment.
type judgedServer struct{ part, command, step string }

// A fairness is what the tests of the judge's fairness share.
type fairness struct {
	reference, changed string            // files of notes/judged
	parts              []string          // that reference is for
	bugsAtATime        int               // programs with a bug each that are judged side by side
	atATime            int               // other programs
	patience           string            // of the judge, for one response
	clients            bool              // they are clients
	python             string            // the interpreter that python3 starts
	tests              map[string]string // the compiled tests of each part
}

func TestJudgeIsFair(t *testing.T) { // not parallel: its walks are
	fairness{reference: "reference.py", changed: "changed.py", parts: []string{"1", "3"}, bugsAtATime: 5, atATime: 6, patience: "8s"}.test(t)
}

func TestJudgeIsFairToGateways(t *testing.T) { // not parallel: its walks are
	fairness{reference: "gateway.py", changed: "changed_gateway.py", parts: []string{"4"}, bugsAtATime: 12, atATime: 6, patience: "4s"}.test(t)
}

func TestJudgeIsFairToClients(t *testing.T) { // not parallel: its walks are
	fairness{reference: "pool_client.py", changed: "changed_client.py", parts: []string{"2", "4"}, bugsAtATime: 16, atATime: 8, clients: true}.test(t)
}

func (f fairness) test(t *testing.T) {
	f.python, f.tests = python(t), map[string]string{}
	for _, part := range f.parts {
		w := walk{root: "../..", part: part, client: f.clients}
		err := w.prepare(t.Context())
		t.Cleanup(func() { os.RemoveAll(w.scratch) })
		w.backend.release()
		require.NoError(t, err)
		f.tests[part] = w.binary
	}
	for name, test := range map[string]func(*testing.T){
		"it stops after the last step that is built": f.stopsAfterTheLastStep,
		"it accepts unusual programs":                f.acceptsUnusualServers,
		"it catches each bug":                        f.catchesEachBug,
	} {
		t.Run(name, func(t *testing.T) {
			if f.clients {
				t.Parallel() // they measure nothing, and most of their time they wait
			}
			test(t)
		})
	}
}

// judgeAll runs the judge on each of servers, so many at a time, and returns the runs
// in that order. All have ended, and left no process.
func (f fairness) judgeAll(t *testing.T, servers []judgedServer, atATime int) []*judging {
	t.Helper()
	turns := make(chan bool, atATime) // holds a token for each that runs; most of a walk is waiting
	runs, left := make([]*judging, len(servers)), make([][]int, len(servers))
	var group sync.WaitGroup
	for i, s := range servers {
		turns <- true
		judged := []string{"SERVER=echo $$ >>$PIDS; " + s.command}
		if f.clients {
			judged = []string{"SERVER=", "CLIENT=echo $$ >>$PIDS; " + s.command}
		}
		runs[i] = beginPart(t, s.part, f.tests[s.part], "", append(judged, "STEP="+s.step, "PYTHONDONTWRITEBYTECODE=1", "PATIENCE="+f.patience)...)
		group.Go(func() {
			runs[i].Wait()           // ends with the judge, which has three minutes
			left[i] = runs[i].left() // now: later another process may have the number
			<-turns
		})
	}
	group.Wait()
	for i, s := range servers {
		assert.Empty(t, left[i], "no process is left of %s", s.command)
	}
	return runs
}

// python returns the interpreter that python3 starts, or skips a test where there is
// none.
func python(t *testing.T) string {
	t.Helper()
	path, err := exec.CommandContext(t.Context(), "python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		t.Skip("python3 is not installed")
	}
	return strings.TrimSpace(string(path))
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

// stopsAfterTheLastStep judges a program that is built up to each step by that step and
// the next: it has the one and lacks the other. That a later step breaks no earlier one
// is seen in acceptsUnusualServers, whose programs have all.
func (f fairness) stopsAfterTheLastStep(t *testing.T) {
	var servers []judgedServer
	var want []string // the step that each lacks
	for _, part := range f.parts {
		of := part
		if f.clients {
			of += steps.OfClients
		}
		all, err := steps.Load("../..", of)
		require.NoError(t, err)
		for i, step := range all {
			if !step.Judged() {
				continue // the judge cannot tell it from the step before
			}
			lacks := nextJudged(all[i+1:])
			both := strings.TrimSuffix(step.Number+","+lacks, ",")
			servers = append(servers, judgedServer{part: part, step: both, command: "UPTO=" + step.Number + " exec " + f.python + " notes/judged/" + f.reference})
			want = append(want, lacks)
			assert.Contains(t, step.Now, seenNowhere[step.Number])
		}
	}

	for i, j := range f.judgeAll(t, servers, f.atATime) {
		assert.Equal(t, want[i], j.firstFailure(), "%s:\n%s", servers[i].command, j.printed.all())
		assert.Equal(t, want[i] == "", j.ProcessState.Success())
	}
}

// nextJudged returns the number of the first step that the judge can miss, or "".
func nextJudged(later []steps.Step) string {
	for _, step := range later {
		if step.Judged() && seenNowhere[step.Number] == "" {
			return step.Number
		}
	}
	return ""
}

// changes returns what f.changed lists of one kind, a line each: its name, the part,
// and for a bug the step and the rule.
func (f fairness) changes(t *testing.T, kind string) (all [][]string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), f.python, filepath.Join("..", "judged", f.changed))
	out, err := cmd.Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		if fields := strings.Split(strings.TrimSpace(line), "\t"); fields[0] == kind {
			all = append(all, fields[1:])
		}
	}
	require.NotEmpty(t, all)
	return all
}

// onlyPart1 makes the server the one of part 1, which is a function of its own.
func onlyPart1(part string) string {
	if part == "1" {
		return "UPTO=1.6 "
	}
	return ""
}

// acceptsUnusualServers walks all steps with the whole reference, and with servers that are
// unusual in several ways at once.
func (f fairness) acceptsUnusualServers(t *testing.T) {
	var servers []judgedServer
	for _, part := range f.parts {
		servers = append(servers, judgedServer{part: part, command: onlyPart1(part) + "exec " + f.python + " notes/judged/" + f.reference})
	}
	for _, c := range f.changes(t, "unusual") {
		servers = append(servers, judgedServer{part: c[1], command: onlyPart1(c[1]) + "UNUSUAL=" + c[0] + " exec " + f.python + " notes/judged/" + f.changed})
	}

	for i, j := range f.judgeAll(t, servers, f.atATime) {
		assert.True(t, j.ProcessState.Success(), "%s:\n%s", servers[i].command, j.printed.all())
	}
}

// catchesEachBug: a server with one bug fails the step whose rule it breaks.
func (f fairness) catchesEachBug(t *testing.T) {
	bugs := f.changes(t, "bug")
	var servers []judgedServer
	for _, c := range bugs {
		servers = append(servers, judgedServer{part: c[1], step: c[2], command: onlyPart1(c[1]) + "BUG=" + c[0] + " exec " + f.python + " notes/judged/" + f.changed})
	}

	for i, j := range f.judgeAll(t, servers, f.bugsAtATime) {
		assert.Equal(t, bugs[i][2], j.firstFailure(), "%s:\n%s", servers[i].command, j.printed.all())
		assert.Contains(t, j.printed.all(), bugs[i][3], "the rule that %s breaks", bugs[i][0])
	}
}
