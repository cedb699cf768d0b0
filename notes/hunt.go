package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
)

// bugVerb plants a bug in the reader's own files, without showing where, and runs
// the test that catches it. Without a name it lists the symptoms.
func bugVerb(r repo, q request, out io.Writer) error {
	if len(q.names) == 0 {
		bugs, err := r.patches(q.part, "bugs", nil)
		for _, p := range bugs {
			fmt.Fprintf(out, "%s\n  %s\n", p, p.head["Symptom"])
		}
		return err
	}
	p, err := r.bug(q)
	if err != nil {
		return err
	}
	if !r.planted(p) {
		if said, err := git(r.root, "apply", r.abs(p.file)); err != nil {
			return fmt.Errorf("%s does not apply, because the files are not as they were: undo your changes first: %s", p, said)
		}
	}
	test := p.head["Test"]
	result := r.test(p.part, test, "")
	fmt.Fprintf(out, "%s is planted. Its symptom:\n\n  %s\n\n", p, p.head["Symptom"])
	fmt.Fprintf(out, "%s %s:\n\n%s\n", test, result.verdict, tail(result.output, 25))
	fmt.Fprintf(out, "Find it and mend it:  go test -run '^%s$' %s\nA hint:               make hint NAME=%s\nGive up:              make mend NAME=%[3]s\n", test, r.packageWith(p.part, test), p.name)
	return nil
}

// mendVerb takes a planted bug out of the reader's files.
func mendVerb(r repo, q request, out io.Writer) error {
	p, err := r.bug(q)
	if err != nil {
		return err
	}
	if said, err := git(r.root, "apply", "-R", r.abs(p.file)); err != nil {
		return fmt.Errorf("%s is not planted, or its lines have been changed since: %s", p, said)
	}
	fmt.Fprintf(out, "%s is out. This was it:\n\n", p)
	src, err := r.read(p.file)
	if err == nil {
		_, err = out.Write(src[max(0, bytes.Index(src, []byte("\ndiff --git"))):])
	}
	return err
}

// hintVerb says where a bug is: the files, then the functions, then the lines.
func hintVerb(r repo, q request, out io.Writer) error {
	p, err := r.bug(q)
	if err != nil {
		return err
	}
	if q.level < 1 || q.level > 3 {
		return usageError("a hint's level is 1 (file), 2 (function) or 3 (line)")
	}
	src, err := r.read(p.file)
	if err != nil {
		return err
	}
	files, _, err := gitdiff.Parse(bytes.NewReader(src))
	for _, f := range files {
		if q.level == 1 {
			fmt.Fprintln(out, f.NewName)
			continue
		}
		for _, fragment := range f.TextFragments {
			at := int(fragment.OldPosition + fragment.LeadingContext)
			if r.planted(p) {
				at = int(fragment.NewPosition + fragment.LeadingContext)
			}
			fmt.Fprint(out, f.NewName, ": ", r.nameAt(f.NewName, at))
			if q.level == 3 {
				fmt.Fprint(out, ", line ", at)
			}
			fmt.Fprintln(out)
		}
	}
	if q.level < 3 {
		fmt.Fprintf(out, "more: make hint NAME=%s LEVEL=%d\n", p.name, q.level+1)
	}
	return err
}

// bug returns the one bug that q names.
func (r repo) bug(q request) (patch, error) {
	bugs, err := r.patches(q.part, "bugs", q.names)
	var unknown usageError
	switch {
	case errors.As(err, &unknown):
		return patch{}, fmt.Errorf("there is no bug %s; make bug lists them", strings.Join(q.names, " "))
	case err != nil:
		return patch{}, err
	case len(q.names) != 1 || len(bugs) != 1:
		return patch{}, errors.New("name one bug; make bug lists them")
	}
	return bugs[0], nil
}

// planted reports whether p's bug is in the reader's files.
func (r repo) planted(p patch) bool {
	_, err := git(r.root, "apply", "-R", "--check", r.abs(p.file))
	return err == nil
}

// nameAt returns the name of the smallest region of file with that line.
func (r repo) nameAt(file string, line int) string {
	src, err := os.ReadFile(r.abs(file))
	if err != nil {
		return "a new file"
	}
	all, _ := regions(file, src)
	name, size := "", len(src)+1
	for _, region := range all {
		first, last := region.lines(src)
		if first <= line && line <= last && last-first < size {
			name, size = region.name, last-first
		}
	}
	return strings.TrimSpace(name)
}
