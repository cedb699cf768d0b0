package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// bugsVerb plants every bug, and wants the test that it names to pass without
// it and to fail with it, in the words that it promises.
func bugsVerb(r repo, q request, out io.Writer) error {
	known := map[string]outcome{} // part and test → without a bug
	patches, err := r.patches(q.part, "bugs", q.names)
	if err != nil {
		return err
	}
	return r.prove(patches, q.verbose, out, func(p patch) (string, outcome, error) {
		test, says := p.head["Test"], p.head["Says"]
		if test == "" || says == "" || p.head["Symptom"] == "" {
			return "", outcome{}, fmt.Errorf("%s needs the fields Symptom:, Test: and Says: before the diff", p.file)
		}
		key := p.part + " " + test
		if _, ok := known[key]; !ok {
			known[key] = r.test(p.part, test, "")
		}
		if sound := known[key]; sound.verdict != passed {
			return "", sound, fmt.Errorf("%s %s without the bug: it has to pass first", test, sound.verdict)
		}
		result, err := r.withPatch(p, test)
		if err == nil && result.verdict != failed {
			err = fmt.Errorf("with the bug, %s %s: it has to fail", test, result.verdict)
		} else if err == nil && !strings.Contains(fold(result.output), fold(says)) {
			err = fmt.Errorf("%s fails, but does not say: %s", test, says)
		}
		return fmt.Sprintf("caught  %s  by %s (%.1f s)", p, test, result.took.Seconds()), result, err
	})
}

// prove calls one for every patch and prints the line that it returns,
// or why there is none, with the end of the test's output.
func (r repo) prove(patches []patch, verbose bool, out io.Writer, one func(patch) (string, outcome, error)) (err error) {
	for _, p := range patches {
		line, result, wrong := one(p)
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		shown := 0
		if wrong != nil {
			line, shown, err = fmt.Sprintf("WRONG   %s  %v", p, wrong), 20, errFailed
		}
		if verbose {
			shown = 1000
		}
		fmt.Fprintf(out, "%s\n%s", line, tail(result.output, shown))
	}
	if len(patches) == 0 {
		fmt.Fprintln(out, "there are none yet")
	}
	return err
}

// withPatch runs a test of p's part, or all with "", with p applied.
func (r repo) withPatch(p patch, test string, tags ...string) (outcome, error) {
	dir, err := os.MkdirTemp("", "notes-overlay-")
	if err != nil {
		return outcome{}, err
	}
	defer os.RemoveAll(dir)
	overlay, err := r.overlay(p, dir)
	if err != nil {
		return outcome{}, err
	}
	return r.test(p.part, test, overlay, tags...), nil
}

// fold makes every run of white space one space.
func fold(s string) string { return strings.Join(strings.Fields(s), " ") }

// tail returns the last n lines of s, indented.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if s == "" || n == 0 {
		return ""
	}
	return "    " + strings.Join(lines[max(0, len(lines)-n):], "\n    ") + "\n"
}
