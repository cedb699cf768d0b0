package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/notes/steps"
)

// buildGateway builds part 4's program, with a planted bug unless bug is "", and
// returns its path.
func buildGateway(t *testing.T, bug string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := root
	if bug != "" {
		dir = t.TempDir()
		for _, name := range []string{"go.mod", "go.sum"} {
			text, err := os.ReadFile(filepath.Join(root, name))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
		}
		require.NoError(t, os.CopyFS(filepath.Join(dir, "part4-pooling"), os.DirFS(filepath.Join(root, "part4-pooling"))))
		runIn(t, dir, "git", "apply", filepath.Join(root, "part4-pooling/bugs", bug+".patch"))
	}
	program := filepath.Join(t.TempDir(), "gateway")
	runIn(t, dir, "go", "build", "-o", program, "./part4-pooling")
	return program
}

func runIn(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", text)
}

// gatewayTests compiles the tests of part 4.
func gatewayTests(t *testing.T) string {
	t.Helper()
	w := walk{root: "../..", part: "4"}
	err := w.prepare(t.Context())
	t.Cleanup(func() { os.RemoveAll(w.scratch) })
	w.backend.release()
	require.NoError(t, err)
	return w.binary
}

const gatewayFlags = " serve -addr $ADDR -backend $BACKEND"

func TestJudgeWalksAGateway(t *testing.T) {
	t.Parallel()
	tests, program := gatewayTests(t), buildGateway(t, "")
	for command, says := range map[string]string{
		program + gatewayFlags:                    "Passed: all 12.",
		program + gatewayFlags + " -wait serial":  "Next: 7.9 In the order of the requests",
		"BE_SERVER=right exec " + os.Args[0]:      "Passed: 0. Next: 7.1 A handler that asks a backend",
		program + " serve -addr $ADDR -backend /": "before it listened on $ADDR",
	} {
		j := beginPart(t, "4", tests, "", "SERVER="+command)

		j.Wait()

		assert.Contains(t, j.printed.all(), says, command)
		assert.Empty(t, j.left(), "no process is left")
	}
}

func TestJudgeWalksAGatewayWithStreams(t *testing.T) {
	t.Parallel()
	tests, program := gatewayTests(t), buildGateway(t, "")
	for command, says := range map[string]string{
		program + streamFlags:                                            "Passed: all 10.",
		program + streamFlags + " -h2-streams 1":                         "Next: 9.4 A lane with streams",
		program + " serve -addr $ADDR -backend http://${BACKEND#h2c://}": "Next: 9.1 Frames",
	} {
		j := beginPart(t, "4", tests, "", "STREAMS=1", "SERVER="+command)

		j.Wait()

		assert.Contains(t, j.printed.all(), says, command)
		assert.Empty(t, j.left(), "no process is left")
	}
}

// With everything up to a step and nothing after it, the judge stops at the next.
func TestJudgeStopsAtTheStepThatAGatewayWithStreamsLacks(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("walks to each step")
	}
	interpreter, tests := python(t), gatewayTests(t)
	all, err := steps.Load("../..", "4"+steps.OfStreams)
	require.NoError(t, err)
	for i, step := range all {
		if !step.Judged() {
			continue
		}
		lacks := nextJudged(all[i+1:])
		both := strings.TrimSuffix(step.Number+","+lacks, ",")
		command := "SERVER=UPTO=" + step.Number + " exec " + interpreter + " notes/judged/streams.py"
		j := beginPart(t, "4", tests, "", "STREAMS=1", command, "STEP="+both, "PYTHONDONTWRITEBYTECODE=1", "PATIENCE=3s")

		j.Wait()

		assert.Equal(t, lacks, j.firstFailure(), "%s:\n%s", command, j.printed.all())
	}
}

const streamFlags = " serve -addr $ADDR -engine $BACKEND"

// Gateways with one of part 4's planted bugs each are caught from outside, in the
// step that teaches what they do wrong.
func TestJudgeCatchesWrongGateways(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds a program for each bug")
	}
	tests := gatewayTests(t)
	for bug, c := range map[string]struct{ step, says, flags string }{
		"ends-as-if-whole":       {"7.2", "the response ends as if it were whole", gatewayFlags},
		"quote-that-swallows":    {"7.5", "Forwarded", gatewayFlags},
		"somebody-elses-request": {"6.4", "the response to the next client is", gatewayFlags},
		"no-look":                {"6.5", `want "HTTP/1.1 200 "`, gatewayFlags},
		"paid-twice":             {"6.6", "the backend has read this POST 2 times", gatewayFlags},
		"next-answer":            {"6.10", "INJECTED", gatewayFlags},
		"credit-kept":            {"9.7", "and may send no more: the window of stream", streamFlags},
		"one-at-the-till":        {"9.7", "a client that does not read stops its own stream", streamFlags},
		"charged-again":          {"9.9", "the backend gets POST /pay twice", streamFlags},
		"goodbye-is-no-failure":  {"9.9", "TestRequestsAfterGOAWAYAreSentAgain", streamFlags},
		"not-my-stream":          {"9.10", `want "HTTP/1.1 200 "`, streamFlags},
	} {
		t.Run(bug, func(t *testing.T) {
			env := []string{"STEP=" + c.step, "SERVER=" + buildGateway(t, bug) + c.flags}
			if c.flags == streamFlags {
				env = append(env, "STREAMS=1")
			}
			j := beginPart(t, "4", tests, "", env...)

			j.Wait()

			assert.Contains(t, j.printed.all(), "FAIL  "+c.step)
			assert.Contains(t, j.printed.all(), c.says)
		})
	}
}
