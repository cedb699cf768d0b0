package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A client that does all but one step is stopped at exactly that one.
func TestJudgeStopsAtTheStepThatAClientLacks(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	program := filepath.Join(t.TempDir(), "client")
	runIn(t, filepath.Join(root, "notes"), "go", "build", "-o", program, "./judged/client")
	w := walk{root: root, part: "4", client: true}
	require.NoError(t, w.prepare(t.Context()))
	t.Cleanup(func() { os.RemoveAll(w.scratch) })
	for lacks, c := range map[string]struct{ part, says string }{
		"":    {"4", "Passed: all 7."},
		"2.3": {"2", "Passed: 0. Next: 2.3 "},
		"6.1": {"4", "Passed: 0. Next: 6.1 "},
		"6.2": {"4", "Passed: 1. Next: 6.2 "},
		"6.3": {"4", "Passed: 2. Next: 6.3 "},
		"6.4": {"4", "Passed: 3. Next: 6.4 "},
		"6.6": {"4", "Passed: 5. Next: 6.6 "}, // net/http cannot do without 6.5
		"6.7": {"4", "Passed: 6. Next: 6.7 "},
	} {
		t.Run("lacks "+lacks, func(t *testing.T) {
			t.Parallel()
			j := beginPart(t, c.part, w.binary, "", "SERVER=", "LACKS="+lacks, "CLIENT="+program)

			j.Wait()

			assert.Contains(t, j.printed.all(), c.says)
		})
	}
}

func TestClientThatIsNotThere(t *testing.T) {
	t.Parallel()
	w := walk{root: "../..", part: "4", client: true}
	require.NoError(t, w.prepare(t.Context()))
	t.Cleanup(func() { os.RemoveAll(w.scratch) })
	j := beginPart(t, "4", w.binary, "", "SERVER=", "CLIENT=no-such-client")

	j.Wait()

	assert.Equal(t, 1, j.ProcessState.ExitCode())
	assert.Contains(t, j.printed.all(), "no-such-client")
	assert.Contains(t, j.printed.all(), "the client ended (exit status 127) and printed no result")
	j = beginPart(t, "3", w.binary, "", "SERVER=", "CLIENT=no-such-client")
	j.Wait()
	assert.Equal(t, 2, j.ProcessState.ExitCode())
	assert.Contains(t, j.printed.all(), "part 3 has no steps for clients; parts 2 and 4 have")
}
