package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part3-pipelining/server"
)

// waitModes returns the values of -wait that this system supports.
func waitModes() []string {
	if server.DefaultDriver == "loop" {
		return []string{"serial", "goroutines", "loop"}
	}
	return []string{"serial", "goroutines"}
}

// isConcurrent is the pattern of the contract tests that need concurrent
// handlers; the serial driver skips them.
const isConcurrent = "TestPipelinedSleepsTakeAsLongAsTheLongest"

// timeLimits are the flags of a server that takes its limits from $TIME_LIMIT, as the
// contract asks (notes/contract.md).
const timeLimits = " -head-time ${TIME_LIMIT:-10}s -body-time ${TIME_LIMIT:-10}s -idle-time ${TIME_LIMIT:-30}s -write-time ${TIME_LIMIT:-20}s"

// The contract tests, which can judge any server, run against each driver
// (transcript_test.go, startJudgedServer).
func TestEveryDriverKeepsTheContract(t *testing.T) {
	skipIfJudging(t)
	if testing.Short() {
		t.Skip("builds the program and runs the contract for each driver")
	}
	program := filepath.Join(t.TempDir(), "server")
	out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, way := range waitModes() {
		if way == server.DefaultDriver {
			continue // runs with all the other tests
		}
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			args := []string{"-test.run=^Test", "-test.v"}
			if way == "serial" {
				args = append(args, "-test.skip=^("+isConcurrent+")$")
			}
			cmd := exec.Command(os.Args[0], args...)
			cmd.Env = append(os.Environ(), "SERVER=exec "+program+" serve -addr $ADDR -wait "+way+timeLimits)
			out, err := cmd.CombinedOutput()
			passed := strings.Count(string(out), "--- PASS: Test")
			t.Logf("%d tests of the contract pass", passed)
			if err != nil {
				failures := regexp.MustCompile(`(?ms)^--- FAIL: (\S+)`).FindAllString(string(out), -1)
				t.Fatalf("%v: %s\n%s", err, strings.Join(failures, "\n"), out)
			}
			assert.Greater(t, passed, 20)
		})
	}
}
