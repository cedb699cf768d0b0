package main

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const recorded = `{"title": "A & B", "alt": "<They> talk.", "columns": ["client", "server"], "recorded": "Linux"}
{"us": 1013000, "who": "server", "what": "close(5)"}
{"us": 12.5, "who": "client", "what": "GET / \u0000", "to": "server"}
`

func TestFigureIsDrawnFromItsRun(t *testing.T) {
	r := fixture(t, map[string]string{"notes/runs/hello.jsonl": recorded})
	drift(t, r, "figures", "notes/figures/hello.svg:1: not as drawn from notes/runs/hello.jsonl")

	svg := mended(t, r, "figures", "notes/figures/hello.svg")

	assert.Contains(t, svg, "They&gt; talk. at 12.5 µs, client to server: GET / \uFFFD; at 1.013 s, server: close(5).")
	assert.Contains(t, svg, "1.013 s go by")
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
}

func TestRunsThatCannotBeDrawn(t *testing.T) {
	for run, words := range map[string]string{
		"":                                   "line 1: EOF",
		`{"columns": ["a"]}`:                 "no events",
		recorded + `{"us": 1, "who": "dog"}`: `line 4: "dog" is none of the columns client, server`,
		recorded + `{"wat": "x"}`:            `line 4: json: unknown field "wat"`,
	} {
		_, err := parseRecording([]byte(run))
		assert.ErrorContains(t, err, words)
	}
}

func TestTextIsWrappedAndCut(t *testing.T) {
	assert.Equal(t, []string{"one two", "three"}, wrap("one two three", 80, 10))
	assert.Equal(t, []string{"incomp…"}, wrap("incomprehensible", 70, 10))
	assert.Equal(t, []string{"a", "b", "c", "d", "e…"}, wrap("a b c d e f", 20, 10))
}
