package main

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
)

// A change is what one file of a part is to its forerunner in the part before it.
type change struct {
	file    string // its path within the part
	src     []byte
	added   []int // the lines it adds; every line when the file is new
	removed int
	fresh   bool   // the part before has no file of that name
	from    string // the path there, when it is another
}

// changes compares part with the part before it, file by file. It also
// returns the names that only the part before has.
func (r repo) changes(part string) (changes []change, left []string, err error) {
	before := r.previous(part)
	var old []string
	if before != "" {
		old = r.goFiles(before)
	}
	files := r.goFiles(part)
	left = slices.Clone(old)
	for _, file := range files {
		was := forerunner(file, files, old)
		c := change{file: file, fresh: was == ""}
		if was != file {
			c.from = was
		}
		if c.src, err = r.read(part + "/" + file); err != nil {
			return nil, nil, err
		}
		var text []byte
		if !c.fresh {
			if text, err = r.read(before + "/" + was); err != nil {
				return nil, nil, err
			}
		}
		fragments, err := diff(roomless(text), roomless(c.src), 0)
		if err != nil {
			return nil, nil, err
		}
		for _, f := range fragments {
			c.count(f)
		}
		changes = append(changes, c)
		left = slices.DeleteFunc(left, func(name string) bool { return name == was })
	}
	return changes, left, nil
}

// forerunner returns the file of the part before that file, one of files, comes from:
// that at the same path, or else the only one of the same name, which has moved from
// one package to another; "" when there is none.
func forerunner(file string, files, old []string) string {
	if slices.Contains(old, file) {
		return file
	}
	same := func(other string) bool { return path.Base(other) == path.Base(file) }
	found, now := slices.IndexFunc(old, same), 0
	for _, other := range files {
		if same(other) {
			now++
		}
	}
	if found < 0 || now > 1 || slices.IndexFunc(old[found+1:], same) >= 0 {
		return "" // or there are several
	}
	return old[found]
}

var (
	packageClause = regexp.MustCompile(`(?m)^package \w+$`)
	ownImport     = regexp.MustCompile(`"socketup/part[^/"]*/`)
)

// roomless is src without what depends on the package that a file is in, line for
// line: the package clause, and the part in the paths of its own packages.
func roomless(src []byte) []byte {
	if at := packageClause.FindIndex(src); at != nil {
		src = slices.Concat(src[:at[0]], []byte("package p"), src[at[1]:])
	}
	return ownImport.ReplaceAll(src, []byte(`"socketup/`))
}

// count adds to c what f adds and removes, but for imports of the part's own packages
// and the empty line above them: a file that has moved into a package has not grown by
// them.
func (c *change) count(f *gitdiff.TextFragment) {
	own := func(i int) bool { return i < len(f.Lines) && strings.Contains(f.Lines[i].Line, `"socketup/`) }
	at := int(f.NewPosition)
	for i, line := range f.Lines {
		imports := own(i) || line.Line == "\n" && own(i+1)
		if line.Op == gitdiff.OpAdd && !imports {
			c.added = append(c.added, at)
		} else if line.Op == gitdiff.OpDelete && !imports {
			c.removed++
		}
		if line.New() {
			at++
		}
	}
}

func (c change) String() string {
	status := "carried"
	if c.fresh {
		status = "new"
	} else if len(c.added)+c.removed > 0 {
		status = fmt.Sprintf("grown (+%d −%d)", len(c.added), c.removed)
	}
	if c.from != "" {
		status += ", from `" + c.from + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %d |", c.file, status, bytes.Count(c.src, []byte("\n")))
}

// growthTable is the growth of part as it stands in its chapter.
func (r repo) growthTable(part string) (string, error) {
	changes, left, err := r.changes(part)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("| file | status | lines |\n|---|---|---:|\n")
	for _, c := range changes {
		fmt.Fprintln(&b, c)
	}
	if len(left) > 0 {
		fmt.Fprintf(&b, "\nLeft behind in %s: `%s`.\n", r.previous(part), strings.Join(left, "`, `"))
	}
	return b.String(), nil
}

func growthVerb(r repo, q request, out io.Writer) error {
	parts := q.names
	if len(parts) == 0 {
		parts = r.parts()
	}
	for i, part := range parts {
		if err := r.checkPart(part); err != nil {
			return err
		}
		table, err := r.growthTable(part)
		if err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "%s\n\n%s", part, table)
	}
	return nil
}

var growthMark = regexp.MustCompile(`(?m)^<!-- (?:growth (\S+)|/growth) -->[ \t]*\n`)

// checkGrowth compares the tables between `<!-- growth PART -->` and
// `<!-- /growth -->` with the parts, and wants one for every part that a chapter shows.
func checkGrowth(n *notes) error {
	var tables []string
	for _, c := range n.chapters {
		marks := growthMark.FindAllSubmatchIndex(c.src, -1)
		for i, m := range marks {
			if m[2] < 0 {
				continue // an end, met with its beginning
			}
			found := string(c.src[m[2]:m[3]])
			if i+1 == len(marks) || marks[i+1][2] >= 0 {
				n.say(c, m[0], "`<!-- growth %s -->` has no `<!-- /growth -->` after it", found)
			} else if err := n.checkTable(c, found, m[1], marks[i+1][0]); err != nil {
				return err
			}
			tables = append(tables, found)
		}
	}
	for _, part := range n.taughtParts() {
		if !slices.Contains(tables, part) {
			n.findings = append(n.findings, finding{"notes", 0, fmt.Sprintf("no growth table of %s: add the lines `<!-- growth %[1]s -->` and `<!-- /growth -->`, then refresh", part), nil})
		}
	}
	n.sum("growth: %d tables", len(tables))
	return nil
}

func (n *notes) checkTable(c *chapter, part string, start, end int) error {
	if err := n.checkPart(part); err != nil {
		n.say(c, start, "%v", err)
		return nil
	}
	table, err := n.growthTable(part)
	if err == nil {
		n.want(c, start, end, "\n"+table+"\n", "the growth table of "+part)
	}
	return err
}
