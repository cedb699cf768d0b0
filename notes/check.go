package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A finding is one place where a file is not true.
type finding struct {
	file string
	line int
	text string
	fix  *edit // nil where only a person can mend it
}

// An edit is what should stand in a file from start on, in place of what does.
type edit struct {
	start     int
	was, text string
}

// A check looks at one kind of truth and leaves its findings in the notes.
type check struct {
	name string
	run  func(*notes) error
}

// checks are in the order in which they are mended: a link can point to a
// figure that was just drawn.
var checks = []check{
	{"figures", checkFigures},
	{"code", checkCode},
	{"growth", checkGrowth},
	{"steps", checkSteps},
	{"coverage", checkCoverage},
	{"names", checkNames},
	{"english", checkEnglish},
	{"links", checkLinks},
	{"console", checkConsole},
}

// say reports what a person has to mend at offset of c.
func (n *notes) say(c *chapter, offset int, format string, args ...any) {
	n.findings = append(n.findings, finding{c.file, c.line(offset), fmt.Sprintf(format, args...), nil})
}

// want reports it when something else than text stands between two offsets.
func (n *notes) want(c *chapter, start, end int, text, what string) {
	if was := string(c.src[start:end]); was != text {
		n.findings = append(n.findings, finding{c.file, c.line(start), "not as in " + what, &edit{start, was, text}})
	}
}

// sum says how much a check looked at.
func (n *notes) sum(format string, args ...any) {
	n.sums = append(n.sums, fmt.Sprintf(format, args...))
}

func checkVerb(r repo, q request, out io.Writer) error   { return keep(r, q, out, false) }
func refreshVerb(r repo, q request, out io.Writer) error { return keep(r, q, out, true) }

// keep runs the checks that q asks for and prints what they find; with
// write, each of them first mends what can be computed.
func keep(r repo, q request, out io.Writer, write bool) error {
	chosen, err := choose(strings.Split(q.only, ","))
	if err != nil {
		return err
	}
	wrong := 0
	for _, check := range chosen {
		n := &notes{repo: r, strict: q.strict}
		left, err := n.keep(check, q.names, out, write)
		if err != nil {
			return err
		}
		wrong += left
	}
	if wrong > 0 {
		fmt.Fprintf(out, "places to mend: %d\n", wrong)
		return errFailed
	}
	return nil
}

// keep runs one check on the chapters as they now stand on disk, and returns
// how many findings are left.
func (n *notes) keep(check check, files []string, out io.Writer, write bool) (left int, err error) {
	if n.chapters, err = n.repo.chapters(); err != nil {
		return 0, err
	}
	if err := n.limit(check, files); err != nil {
		return 0, err
	}
	if err := errors.Join(check.run(n), n.ctx.Err()); err != nil {
		return 0, err
	}
	return n.settle(out, write)
}

// choose returns the checks of the given names, in their own order.
func choose(names []string) ([]check, error) {
	chosen := slices.DeleteFunc(slices.Clone(checks), func(c check) bool { return !slices.Contains(names, c.name) })
	if len(chosen) < len(names) {
		return nil, usageError(fmt.Sprintf("not a list of checks: %q", strings.Join(names, ",")))
	}
	return chosen, nil
}

// chapters returns the Markdown files of notes.
func (r repo) chapters() ([]*chapter, error) {
	var chapters []*chapter
	for _, file := range r.glob("notes/*.md") {
		c, err := r.chapter(file)
		if err != nil {
			return nil, err
		}
		chapters = append(chapters, c)
	}
	return chapters, nil
}

// limit leaves only the named chapters; what the prose covers is a question
// to all of them.
func (n *notes) limit(check check, files []string) error {
	if len(files) == 0 || slices.Contains([]string{"coverage", "growth", "names"}, check.name) {
		return nil
	}
	n.chapters = slices.DeleteFunc(n.chapters, func(c *chapter) bool {
		return !slices.ContainsFunc(files, func(file string) bool { return path.Base(file) == path.Base(c.file) })
	})
	if len(n.chapters) == 0 {
		return usageError(fmt.Sprintf("no such chapter in notes: %s", strings.Join(files, ", ")))
	}
	return nil
}

// settle prints the findings and the sums; with write, it mends what has a
// fix. It returns how many findings are left.
func (n *notes) settle(out io.Writer, write bool) (left int, err error) {
	slices.SortStableFunc(n.findings, func(a, b finding) int {
		return cmp.Or(strings.Compare(a.file, b.file), cmp.Compare(a.line, b.line))
	})
	for _, f := range slices.Backward(n.findings) { // so that the offsets of an earlier edit stay true
		if write && f.fix != nil {
			if err := n.apply(f); err != nil {
				return 0, err
			}
		}
	}
	for _, f := range n.findings {
		if write && f.fix != nil {
			fmt.Fprintf(out, "%s:%d: rewritten\n", f.file, f.line)
			continue
		}
		left++
		fmt.Fprintf(out, "%s:%d: %s\n", f.file, f.line, f.text)
		if f.fix != nil {
			if err := f.fix.show(out); err != nil {
				return 0, err
			}
		}
	}
	for _, sum := range n.sums {
		fmt.Fprintln(out, sum)
	}
	return left, nil
}

// apply writes f's edit into its file; a file that is to be made is empty.
func (n *notes) apply(f finding) error {
	file := n.abs(f.file)
	src, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	src = slices.Concat(src[:f.fix.start], []byte(f.fix.text), src[f.fix.start+len(f.fix.was):])
	return errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, src, 0o644))
}

const diffLines = 16 // of one edit; the rest is to be seen after a refresh

// show prints what e would change.
func (e *edit) show(out io.Writer) error {
	fragments, err := diff([]byte(e.was), []byte(e.text), 1)
	var lines []string
	for _, f := range fragments {
		for _, line := range f.Lines {
			lines = append(lines, "    "+strings.TrimSuffix(line.String(), "\n"))
		}
	}
	if more := len(lines) - diffLines; more > 0 {
		lines = append(lines[:diffLines], fmt.Sprintf("    … and %d lines more", more))
	}
	fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}
