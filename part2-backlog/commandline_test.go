package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// escapeSequence matches what moves the cursor or sets a colour.
var escapeSequence = regexp.MustCompile("\x1b\\[[?0-9;]*[A-Za-z]")

// requireNarrow requires that no line of text is wider than a terminal of 80 columns. A
// word that is longer, such as a path, may have a line to itself.
func requireNarrow(t testing.TB, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimRight(escapeSequence.ReplaceAllString(line, ""), "\r\n")
		line = line[strings.LastIndexByte(line, '\r')+1:]
		if n := utf8.RuneCountInString(line); n > columns && strings.Contains(strings.TrimSpace(line), " ") {
			t.Errorf("house rule: output fits in 80 columns. terminal.go, wrap\n%d: %s", n, line)
		}
	}
}

func TestHelpSaysInOneSentenceWhatEachVerbDoes(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	var short, long, none bytes.Buffer

	assert.Zero(t, run([]string{"-h"}, &short, &none))
	assert.Zero(t, run([]string{"help"}, &long, &none))

	assert.Equal(t, short.String(), long.String())
	requireNarrow(t, short.String())
	for _, v := range verbs {
		var asked, dashed bytes.Buffer
		assert.Zero(t, run([]string{"help", v.name}, &asked, &none))
		assert.Zero(t, run([]string{v.name, "-h"}, &dashed, &none))

		assert.Equal(t, dashed.String(), asked.String())
		requireNarrow(t, asked.String())
		assert.Regexp(t, `^[A-Z][^.]+\.$`, strings.ReplaceAll(v.does, "1.1", ""), "%s: one sentence", v.name)
		for _, text := range []string{short.String(), asked.String()} {
			assert.Contains(t, strings.Join(strings.Fields(text), " "), v.does)
		}
		assert.NotRegexp(t, `(?m)^  -[a-z-]+ (VALUE|INT|UINT|STRING|MANY|TIME|NUMBER)$`, asked.String(), "%s: placeholders are DURATION, BYTES, N, or name what they stand for", v.name)
	}
	assert.Empty(t, none.String())
}

func TestHelpForAnUnknownVerbListsTheVerbs(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	var stdout, stderr bytes.Buffer

	assert.Equal(t, exitUsage, run([]string{"help", "dance"}, &stdout, &stderr))

	assert.Empty(t, stdout.String())
	requireInOrder(t, stderr.String(), `unknown verb "dance"`, "usage: "+program, "  serve ", "  demo ")
}

func TestLongLinesAreBrokenBetweenWords(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	word := strings.Repeat("é", 39)
	for text, want := range map[string]string{
		"":                                "",
		"  short  as it is":               "  short  as it is",
		word + " " + word + "!":           word + " " + word + "!", // 80
		word + " " + word + "!!":          word + "\n  " + word + "!!",
		word + " a " + word + " b\nshort": word + " a\n  " + word + " b\nshort",
		word + word + word + " a":         word + word + word + "\n  a",
	} {
		assert.Equal(t, want, wrap(text, "  "), "%q. terminal.go, wrap", text)
	}
}

func TestTimelinesFitIn80ColumnsAndRoundTheirTimes(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	line := newTimeline()
	line.record(line.start.Add(3), "client", "begins", "")
	line.record(line.start.Add(3_075_750), "server", strings.Repeat("long ", 30)+"end", "client")
	var text, lines bytes.Buffer

	line.print(&text, false)
	line.print(&lines, true)

	requireNarrow(t, text.String())
	assert.Regexp(t, `(?m)^     3\.076 ms  server    long .*\n {25}long .*\n {25}long .* end$`, text.String())
	assert.Contains(t, lines.String(), `{"us":3075.747,`)
	many := newTimeline()
	for i := range 100 {
		many.record(many.start.Add(time.Duration(1_234_567*i+3)), "server", "goes on", "")
	}
	lines.Reset()
	many.print(&lines, true)
	assert.NotRegexp(t, `\.[0-9]{4}`, lines.String(), "house rule: no more decimals than there are nanoseconds. timeline.go, print")
}

// A log line says nothing of what is not so, and as JSON it is one object.
func TestLogsAreTextOrJSON(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	for _, format := range []logFormat{"text", "json"} {
		var out bytes.Buffer

		newLogger(&out, format).Info("two words", "error", error(nil), "why", errors.New("bad luck"))

		assert.NotContains(t, out.String(), "nil", format)
		assert.NotContains(t, out.String(), "null", format)
		assert.Equal(t, format == "json", json.Valid(out.Bytes()), out.String())
		assert.Contains(t, out.String(), "bad luck")
	}
}

// With -log-format json a log is parsed by programs: every line of it, from the start to
// the stop, is one object.
func TestLogAsJSONIsJSONToTheEnd(t *testing.T) {
	t.Parallel()
	cmd, _, logged := startServing(t, "-log-format", "json")

	require.NoError(t, cmd.Process.Signal(os.Interrupt))

	text, err := io.ReadAll(logged)
	require.NoError(t, err)
	assert.NoError(t, waitExit(t, cmd), "exit status")
	for line := range strings.Lines(string(text)) {
		assert.True(t, json.Valid([]byte(line)), line)
	}
	assert.Regexp(t, `"msg":"stopping: [^"]*up to 5s; \^C again to stop now"`, string(text))
}
