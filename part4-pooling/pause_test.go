package main

import (
	"bufio"
	"io"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Which requests fail is a race between the server's timer and the client, so
// the test counts many; only the two zeros are certain.
func TestOnlyUncheckedReuseFailsAfterAPause(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	if runtime.GOOS != "linux" {
		t.Skip("how a stopped process resumes depends on the kernel: run this in a Linux container")
	}
	const calls = 10
	total := make([]int, len(policies))
	for round := 1; round <= 10 && (round <= 2 || total[0] == 0); round++ {
		failed, err := playPolicies(1, calls)
		require.NoError(t, err)
		for i, n := range failed {
			total[i] += n
		}
	}

	for i, p := range policies {
		t.Logf("%-24s %-4s  %d failed", p.name, p.method, total[i])
	}
	assert.NotZero(t, total[0], "unchecked reuse is the bug that this demonstrates")
	assert.Zero(t, total[2], "house rule: after dropping all connections to a paused server none is stale. evictor.go, DropAll")
	assert.Zero(t, total[3], "house rule: an idempotent request is retried once, on a new connection. roundtrip.go")
}

// The server of the experiment ends as every server here does: ^C is answered in
// words, and is no failure.
func TestKeepSaysThatItStops(t *testing.T) {
	t.Parallel()
	cmd := programCommand(t, "keep")
	stdout, stderr := outputPipes(t, cmd)
	require.NoError(t, cmd.Start())
	_, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)

	require.NoError(t, cmd.Process.Signal(os.Interrupt))

	text, err := io.ReadAll(stderr)
	require.NoError(t, err)
	assert.NoError(t, waitExit(t, cmd), "exit status")
	assert.Equal(t, "stopped; its connections are closed\n", string(text))
}
