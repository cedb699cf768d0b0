package main

import (
	"fmt"
	"regexp"
	"strings"

	"socketup/notes/steps"
)

// A failure is what one failed test, or case of it, says.
type failure struct {
	test string
	text string
}

var (
	failLine   = regexp.MustCompile(`^\s*--- FAIL: (\S+)`)
	beginLine  = regexp.MustCompile(`^=== (?:RUN|CONT|NAME)\s+(\S+)`)
	otherLine  = regexp.MustCompile(`^\s*(--- (PASS|SKIP)|=== )|^(PASS|FAIL|ok|exit status)\b`)
	place      = regexp.MustCompile(`^(\s+)[a-z_]+_test\.go:\d+: ?`)
	boxed      = regexp.MustCompile(`^\s*(Error Trace|Test):\s`)
	boxedTrace = regexp.MustCompile(`^\s+(/|.*_test\.go:\d+$)`)
)

// failuresIn takes the output of `go test -v` apart. A test whose cases failed
// says nothing itself and is left out.
func failuresIn(printed string) (all []failure) {
	byName := map[string]*strings.Builder{}
	var names []string
	current := ""
	for line := range strings.Lines(printed) {
		if m := beginLine.FindStringSubmatch(line); m != nil {
			current = m[1]
		} else if m := failLine.FindStringSubmatch(line); m != nil {
			names = append(names, m[1])
		} else if !otherLine.MatchString(line) {
			if byName[current] == nil {
				byName[current] = &strings.Builder{}
			}
			byName[current].WriteString(line)
		}
	}
	for _, name := range names {
		if said := byName[name]; said != nil {
			all = append(all, failure{name, tidy(said.String())})
		}
	}
	return all
}

// tidy takes out of a test's words what is about the test's own program: file and
// line, and the frame of an assertion.
func tidy(said string) string {
	var lines []string
	for line := range strings.Lines(said) {
		line = strings.TrimRight(line, "\n")
		if m := place.FindString(line); m != "" {
			if line = line[len(m):]; strings.TrimSpace(line) == "" {
				continue
			}
		}
		if boxed.MatchString(line) || boxedTrace.MatchString(line) {
			continue
		}
		line = strings.Replace(line, "  look: ", "  ours: ", 1)
		lines = append(lines, strings.TrimPrefix(line, "        "))
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// explain prints why step failed and what to do about it, and stops the server.
func (w *walk) explain(step steps.Step, failures []failure, err error) {
	fmt.Fprintln(w.out)
	if err != nil {
		fmt.Fprintf(w.out, "    %v\n", err)
	}
	for i, f := range failures {
		if i > 0 && !w.all {
			fmt.Fprintf(w.out, "    More cases of this test that fail: %d.\n", len(failures)-1)
			break
		}
		fmt.Fprintf(w.out, "    %s\n", f.test)
		for line := range strings.Lines(f.text) {
			fmt.Fprintf(w.out, "    %s", line)
		}
		fmt.Fprintln(w.out)
	}
	fmt.Fprintf(w.out, "    idea: %s\n    hint: %s\n    read: notes/%s\n", step.Idea, step.Hint, step.Read)
	s := w.server
	w.stopServer() // its last words may come at the end
	if s != nil {
		if text := strings.TrimSpace(s.printed.last()); text != "" {
			fmt.Fprintf(w.out, "    Your server printed:\n      %s\n", strings.ReplaceAll(text, "\n", "\n      "))
		}
	}
	fmt.Fprintln(w.out)
}
