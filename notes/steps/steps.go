// Package steps reads the steps of a part: what a reader builds, in which order,
// and which contract tests belong to each step. A part has one file, part1.md,
// written to be read.
package steps

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A Step is one idea that a reader adds to the program.
type Step struct {
	Number  string // 1.3
	Title   string
	Idea    string
	Minutes string // to build it
	Now     string // what the program can do with it
	Tests   []Test // in the order in which the judge runs them
	Hint    string
	Read    string // a chapter and its section: 01-hello.md, Step 1.3 · A request is not a read
}

// A Test is a contract test, or one case of it. A test whose cases belong to
// several steps is named whole by one of them, which has all cases that no
// other step names.
type Test struct {
	Name string // TestX
	Case string // as go test prints it, with underscores; "" for all that are left
}

var heading = regexp.MustCompile(`^## (\d+\.\d+) (.+)$`)

// OfClients follows the part where a client is judged instead of a server.
const OfClients = "-client"

// OfStreams follows the part where a gateway's backend speaks HTTP/2.
const OfStreams = "-streams"

// File returns where the steps of a part are, seen from the repository's root.
func File(part string) string { return filepath.Join("notes", "steps", "part"+part+".md") }

// Load reads the steps of a part of the repository at root. A part without
// steps has an error for which os.IsNotExist is true.
func Load(root, part string) ([]Step, error) {
	text, err := os.ReadFile(filepath.Join(root, File(part)))
	if err != nil {
		return nil, err
	}
	all, err := Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", File(part), err)
	}
	return all, nil
}

// Parse returns the steps in text: a heading of level two for each, and under it
// one line "- key: value" for each thing to say. Lines of other forms are prose.
func Parse(text string) ([]Step, error) {
	var all []Step
	for i, line := range strings.Split(text, "\n") {
		if m := heading.FindStringSubmatch(line); m != nil {
			all = append(all, Step{Number: m[1], Title: m[2]})
			continue
		}
		key, value, found := strings.Cut(strings.TrimPrefix(line, "- "), ": ")
		if !found || !strings.HasPrefix(line, "- ") || len(all) == 0 {
			continue
		}
		if !all[len(all)-1].set(key, value) {
			return nil, fmt.Errorf("line %d: no step has a %q", i+1, key)
		}
	}
	for _, s := range all {
		if s.Idea == "" || s.Minutes == "" || s.Now == "" || s.Hint == "" || s.Read == "" {
			return nil, fmt.Errorf("step %s lacks an idea, minutes, now, a hint or what to read", s.Number)
		}
	}
	return all, nil
}

// set gives the step what one line says, and returns whether there is such a key.
func (s *Step) set(key, value string) bool {
	switch key {
	case "idea":
		s.Idea = value
	case "minutes":
		s.Minutes = value
	case "now":
		s.Now = value
	case "hint":
		s.Hint = value
	case "read":
		s.Read = value
	case "tests":
		for name := range strings.SplitSeq(value, ", ") {
			root, row, _ := strings.Cut(strings.TrimSpace(name), "/")
			s.Tests = append(s.Tests, Test{root, row})
		}
	default:
		return false
	}
	return true
}

// Judged returns whether the judge can say that a program has done the step. The
// first step of the series is that the program listens.
func (s Step) Judged() bool { return len(s.Tests) > 0 || s.Number == "1.1" }

// Together returns tests in the same order, the cases of a test that follow each other
// together.
func Together(tests []Test) (groups [][]Test) {
	for _, test := range tests {
		last := len(groups) - 1
		if test.Case != "" && last >= 0 && groups[last][0].Case != "" && groups[last][0].Name == test.Name {
			groups[last] = append(groups[last], test)
		} else {
			groups = append(groups, []Test{test})
		}
	}
	return groups
}

// Pattern returns what go test is to run and to skip for tests, as some of all steps;
// skip is "" for nothing. Of tests that are named whole there is only one.
func Pattern(tests []Test, all []Step) (run, skip string) {
	var patterns, named []string
	for _, test := range tests {
		patterns = append(patterns, test.pattern())
	}
	if run = strings.Join(patterns, "|"); tests[0].Case != "" {
		return run, ""
	}
	for _, step := range all {
		for _, other := range step.Tests {
			if other.Name == tests[0].Name && other.Case != "" {
				named = append(named, other.pattern())
			}
		}
	}
	return run, strings.Join(named, "|")
}

// pattern matches the test alone. A slash in the name of a case is one for go
// test as well.
func (t Test) pattern() string {
	elements := strings.Split(t.String(), "/")
	for i, element := range elements {
		elements[i] = "^" + regexp.QuoteMeta(element) + "$"
	}
	return strings.Join(elements, "/")
}

// String is the name as go test prints it.
func (t Test) String() string {
	if t.Case == "" {
		return t.Name
	}
	return t.Name + "/" + t.Case
}
