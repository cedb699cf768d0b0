package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/notes/lab"
)

func TestPlayPrintsEventsAndASentence(t *testing.T) {
	var out, wrong bytes.Buffer

	status := run([]string{"play", "-root", "../../..", "close", "unread=0", "clients=2", "said=1"}, &out, &wrong)

	assert.Equal(t, 0, status)
	assert.Empty(t, wrong.String())
	lines := strings.Split(out.String(), "\n")
	assert.Contains(t, lines[1], "client 2              reads the whole response, then the end")
	assert.Equal(t, "You said 1; 2 responses were whole. 0 of 2 connections were reset.", lines[3])
}

func TestPlayAsJSON(t *testing.T) {
	var out bytes.Buffer

	status := run([]string{"play", "-json", "pipeline", "depth=2", "a=0", "b=0"}, &out, &out)

	assert.Equal(t, 0, status)
	var result lab.Result
	require.NoError(t, json.Unmarshal(out.Bytes(), &result))
	assert.Contains(t, result.Sentence, "ms until the last response")
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args         []string
		status       int
		says, blames string // on stdout, on stderr
	}{
		{[]string{"-h"}, 0, "usage: lab", ""},
		{[]string{"play", "-h"}, 0, "usage: lab", ""},
		{[]string{"backlog"}, 2, "", `unexpected argument "backlog"`},
		{[]string{"-no"}, 2, "", "flag provided but not defined: -no"},
		{[]string{"play"}, 2, "", "close, backlog, pipeline and pool"},
		{[]string{"play", "backlogs"}, 2, "", "close, backlog, pipeline and pool"},
		{[]string{"play", "close", "clients=500"}, 2, "", "want a number from 1 to 200"},
		{[]string{"-addr", "nowhere"}, 1, "", "nowhere"},
	} {
		var out, wrong bytes.Buffer
		assert.Equal(t, c.status, run(c.args, &out, &wrong), c.args)
		assert.Contains(t, out.String(), c.says)
		assert.Contains(t, wrong.String(), c.blames)
		if c.blames == "" {
			assert.Empty(t, wrong.String())
			continue
		}
		assert.Empty(t, out.String())
		assert.Regexp(t, `^lab: .+\n$`, wrong.String(), "one sentence, by the program's own name")
	}
}

func TestHelpNamesEveryFlagIn80Columns(t *testing.T) {
	for line := range strings.Lines(help) {
		assert.LessOrEqual(t, len(line), 81, line)
	}
	for _, flag := range []string{"-root", "-addr", "-json"} {
		assert.Contains(t, help, "\n  "+flag)
	}
}
