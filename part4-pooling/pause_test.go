package main

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Which calls fail is a race between the server's timer and ours, so the counts
// are over many; only the two zeros are certain.
func TestOnlyUncheckedReuseFailsAfterAPause(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	if runtime.GOOS != "linux" {
		t.Skip("how a paused process wakes up is the kernel's business: run this in a Linux container")
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
	assert.NotZero(t, total[0], "reuse unchecked is the bug that this is about")
	assert.Zero(t, total[2], "house rule: drop all connections of a server that is paused, and nothing is stale. evictor.go, DropAll")
	assert.Zero(t, total[3], "house rule: what is idempotent is tried once more, on a fresh connection. roundtrip.go")
}
