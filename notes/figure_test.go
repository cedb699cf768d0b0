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

func TestRunSaysWhatItsFigureLeavesOut(t *testing.T) {
	rec, err := parseRecording([]byte(`{"columns": ["a"], "omit": ["ACK"]}
{"us": 1, "who": "a", "what": "ACK"}
{"us": 2, "who": "a", "what": "SYN, ACK"}`))

	require.NoError(t, err)
	require.Len(t, rec.events, 1)
	assert.Equal(t, "SYN, ACK", rec.events[0].What)
}

func TestWordsOfAFigureAreNotProse(t *testing.T) {
	c := parseChapter("notes/a.md", []byte("one two\n\n![A long description](figures/a.svg)\n\n*And a caption.*\n\n*three four*\n"))
	assert.Equal(t, 4, c.words())
}

func TestTextIsWrappedAndCut(t *testing.T) {
	assert.Equal(t, []string{"one two", "three"}, wrap("one two three", 80, 10))
	assert.Equal(t, []string{"incomp…"}, wrap("incomprehensible", 70, 10))
	assert.Equal(t, []string{"a", "b", "c", "d", "e…"}, wrap("a b c d e f", 20, 10))
}

const sketched = `title: Two <queues>
alt: A SYN goes to a queue.
colour 0: SYN

 SYN ──▶[ a | SYN ]  SYN_SENT ██
`

func TestSketchIsDrawnFromItsText(t *testing.T) {
	r := fixture(t, map[string]string{"notes/figures/queue.txt": sketched})
	drift(t, r, "figures", "notes/figures/queue.svg:1: not as drawn from notes/figures/queue.txt")

	svg := mended(t, r, "figures", "notes/figures/queue.svg")

	wellFormed(t, svg)
	assert.Contains(t, svg, "Two &lt;queues&gt;</title>\n<desc id=\"desc\">A SYN goes to a queue.</desc>")
	assert.Contains(t, svg, "prefers-color-scheme: dark")
	assert.Equal(t, 2, strings.Count(svg, `class="t0">SYN</text>`), "the phrase has its colour where it is a word")
	assert.Contains(t, svg, ">SYN_SENT</text>")
	assert.Equal(t, 1, strings.Count(svg, `class="box b0"`), "so has the part of a box that it is in")
	assert.Equal(t, 1, strings.Count(svg, `<rect class="c0"`), "a bar is one rectangle")
}

func TestSketchesThatCannotBeDrawn(t *testing.T) {
	for src, words := range map[string]string{
		"tilte: a\nalt: b\n\nx": "none of title, alt, colour",
		"title: a\nalt: b\n\n" + strings.Repeat("x", sketchColumns+1): "a phone shows",
		"title: a\nalt: b\ncolour 0: dog\n\ndogs":                     `no "dog" to colour`,
		"title: a\nalt: b\ncolour 9: dog\n\ndog":                      "colour 0 to 5",
		"title: a\n\ndog":                                             "needs a title, an alt",
	} {
		_, err := parseSketch(src)
		assert.ErrorContains(t, err, words, src)
	}
}

const stateCode = "package p\nvar moves = [...]uint8{\n\topen: 1<<closing,\n\tclosing: 1<<open | 1<<closed,\n\tclosed: 0,\n}\n"

func TestStatesAreDrawnFromTheTableInTheCode(t *testing.T) {
	files := map[string]string{"part1-one/state.go": stateCode, "notes/figures/life.states.json": `{"title": "A life", "alt": "States.",
		"file": "part1-one/state.go", "tables": [{"moves": "moves", "states": {"open": "o", "closing": "c", "closed": "d"}}]}`}
	r := fixture(t, files)

	svg := mended(t, r, "figures", "notes/figures/life.svg")

	wellFormed(t, svg)
	assert.Contains(t, svg, "States. open → closing; closing → open, closed; closed is final.</desc>")
	assert.Equal(t, 3, strings.Count(svg, `<path class="curve`), "an arc for each move")
	write(t, r, map[string]string{"part1-one/state.go": strings.Replace(stateCode, "1<<open | ", "", 1)})
	drift(t, r, "figures", "notes/figures/life.svg:1: not as drawn")
	write(t, r, map[string]string{"part1-one/state.go": strings.ReplaceAll(stateCode, "closed", "gone")})
	drift(t, r, "figures", "no words for the state gone")
}

// wellFormed fails the test unless svg is XML.
func wellFormed(t *testing.T, svg string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := d.Token()
		if err == io.EOF {
			return
		}
		require.NoError(t, err)
	}
}
