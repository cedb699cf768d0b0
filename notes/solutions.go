package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

var exerciseTest = regexp.MustCompile(`(?m)^func (TestExercise\w*)\(`)

// solutionsVerb wants every exercise to fail as the reader finds it, to pass
// with its solution, and the solution to break nothing; and it wants every
// exercise to have one.
func solutionsVerb(r repo, q request, out io.Writer) error {
	patches, err := r.patches(q.part, "solutions", q.names)
	if err != nil {
		return err
	}
	solved := map[string]bool{}
	for _, p := range patches {
		solved[p.part+" "+p.head["Exercise"]] = true
	}
	err = r.prove(patches, q.verbose, out, r.solve)
	if q.part == "" && len(q.names) == 0 && err == nil {
		err = r.unsolved(solved, out)
	}
	return err
}

// solve proves one solution.
func (r repo) solve(p patch) (string, outcome, error) {
	test := p.head["Exercise"]
	if test == "" {
		return "", outcome{}, fmt.Errorf("%s needs the field Exercise: before the diff", p.file)
	}
	result := r.test(p.part, test, "", "exercise")
	if result.verdict != failed {
		return "", result, fmt.Errorf("unsolved, %s %s: it has to fail", test, result.verdict)
	}
	took := result.took
	result, err := r.withPatch(p, test, "exercise")
	took += result.took
	if err == nil && result.verdict != passed {
		err = fmt.Errorf("solved, %s %s: it has to pass", test, result.verdict)
	}
	if err != nil {
		return "", result, err
	}
	suite, err := r.withPatch(p, "")
	took += suite.took
	if err == nil && suite.verdict != passed {
		err = fmt.Errorf("solved, %s as a whole %s: it has to pass", p.part, suite.verdict)
	}
	if err != nil {
		return "", suite, err
	}
	return fmt.Sprintf("solved  %s  for %s (%.1f s)", p, test, took.Seconds()), result, nil
}

// unsolved reports the exercises that no solution names.
func (r repo) unsolved(solved map[string]bool, out io.Writer) (err error) {
	for _, part := range r.parts() {
		for _, file := range r.goFiles(part) {
			if !strings.HasSuffix(file, "_test.go") {
				continue
			}
			src, readErr := r.read(part + "/" + file)
			if readErr != nil {
				return readErr
			}
			for _, m := range exerciseTest.FindAllSubmatch(src, -1) {
				if test := string(m[1]); !solved[part+" "+test] {
					fmt.Fprintf(out, "WRONG   %s  has no solution: write %s/solutions/NAME.patch with `Exercise: %s`\n", test, part, test)
					err = errFailed
				}
			}
		}
	}
	return err
}
