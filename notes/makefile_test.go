package main

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// After ^C the server itself tells make how it has ended. Under go run it is 1, and make
// prints an error after a clean stop.
func TestMakeServesWithoutAProgramInBetween(t *testing.T) {
	r, err := findRepo(t.Context(), ".")
	require.NoError(t, err)
	for _, part := range r.parts()[:3] {
		dry := exec.CommandContext(t.Context(), "make", "-n", part[:len("part1")])
		dry.Dir = r.root

		text, err := dry.CombinedOutput()

		require.NoError(t, err, "%s", text)
		assert.Contains(t, string(text), "exec bin/"+part+"\n")
		assert.NotContains(t, string(text), "go run")
	}
}
