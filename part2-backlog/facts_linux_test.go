package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Not parallel: one of the facts is what this machine's counters count. The
// schedule, for which one has to wait, is another test's.
func TestFactsAreAsPredicted(t *testing.T) {
	skipIfJudging(t)
	k, err := readKernel()
	require.NoError(t, err)
	var text, lines bytes.Buffer

	assert.NoError(t, facts(t.Context(), &text, k, 0, false), &text)
	assert.NoError(t, facts(t.Context(), &lines, k, 0, true))

	assert.Contains(t, text.String(), "as predicted")
	requireNarrow(t, text.String())
	for line := range strings.Lines(lines.String()) {
		var f fact
		require.NoError(t, json.Unmarshal([]byte(line), &f))
		assert.True(t, f.Holds, f.What)
	}
}

func TestFactThatDiffersIsMarkedAndFails(t *testing.T) {
	skipIfJudging(t)
	k, err := readKernel()
	require.NoError(t, err)
	k.somaxconn += 1000
	var text bytes.Buffer

	err = facts(t.Context(), &text, k, 0, false)

	assert.ErrorContains(t, err, "1 fact not as predicted")
	requireNarrow(t, text.String())
	assert.Regexp(t, `the limit is somaxconn +\d+ +\d+ +DIFFERS\n`, text.String())
}

func TestVerdictsAreColouredOnATerminal(t *testing.T) {
	skipIfJudging(t)
	k, err := readKernel()
	require.NoError(t, err)
	k.somaxconn += 1000
	t.Setenv("TERM", "xterm-256color")
	t.Setenv("NO_COLOR", "")

	text := shownBy(t, func(screen *os.File) { assert.Error(t, facts(t.Context(), screen, k, 0, false)) })

	assert.Contains(t, text, "\x1b[31mDIFFERS\x1b[0m", "facts_linux.go, facts")
	assert.Contains(t, text, "\x1b[32mas predicted\x1b[0m")
}
