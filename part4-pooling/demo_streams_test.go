package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the demo of chapter 9 claims must hold on this machine.
func TestStreamsDemoShowsItsFigures(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	output, err := programCommand(t, "demo", "-streams").CombinedOutput()
	require.NoError(t, err, "%s", output)
	text := string(output)
	t.Log("\n" + text)

	requireNarrow(t, text)
	requireInOrder(t, text, "asks for", "works on 8 requests, streams 1 to 15 of 1 connection", "leaves, and does not wait",
		"gets RST_STREAM (CANCEL)", "client B  asks for /sleep/20\n", "client B  has /sleep/20\n", "has seen 9 requests on 1 connection")
	for _, m := range regexp.MustCompile(`client B +/sleep/20 +(\d+) ms +(\d+) ms`).FindAllStringSubmatch(text, -1) {
		var one, two int
		fmt.Sscan(m[1], &one)
		fmt.Sscan(m[2], &two)
		assert.GreaterOrEqual(t, one, 1000, "over HTTP/1.1 client B waits for the slow response of client A")
		assert.Less(t, two, one, "and over HTTP/2 it does not")
	}
}

// The backend is told of the stream that client A gave up, and of no other.
func TestStreamsDemoAsJSON(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	output, err := programCommand(t, "demo", "-streams", "-json").Output()
	require.NoError(t, err)

	var before float64
	for line := range strings.Lines(string(output)) {
		var e event
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		if e.Experiment == "streams" {
			assert.GreaterOrEqual(t, e.US, before, "events are in the order of their times")
			before = e.US
		}
	}
	assert.NotZero(t, before)
	assert.Equal(t, 1, strings.Count(string(output), "RST_STREAM"))
	assert.Contains(t, string(output), "on 1 connection")
}
