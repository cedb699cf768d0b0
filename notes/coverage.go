package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"

	md "github.com/yuin/goldmark/ast"
)

// A cover says of one file of a part which lines the prose must answer for,
// and which it does answer for.
type cover struct {
	file  string
	src   []byte
	added []int // lines of code that the part adds
	shown map[int]bool
	left  map[int]bool // listed as left to the reader
}

// checkCoverage wants every line of code that a part with a chapter adds to
// be shown in some chapter, or listed under "Left to the reader".
func checkCoverage(n *notes) error {
	covers := map[string]*cover{}
	parts := n.taughtParts()
	for _, part := range parts {
		if err := n.cover(part, covers); err != nil {
			return err
		}
	}
	for _, c := range n.chapters {
		fences, _ := c.fences()
		for _, f := range fences {
			if cover := covers[f.about.file]; cover != nil && f.info != "sketch" {
				cover.show(f.about.names)
			}
		}
	}
	for _, c := range n.chapters {
		n.leave(c, covers)
	}
	for _, part := range parts {
		n.sumCover(part, covers)
	}
	for _, c := range n.chapters {
		n.sumSubject(c, covers)
	}
	return nil
}

// cover adds to covers the files of part that hold new code.
func (n *notes) cover(part string, covers map[string]*cover) error {
	changes, _, err := n.changes(part)
	for _, c := range changes {
		if strings.HasSuffix(c.file, "_test.go") {
			continue
		}
		file := part + "/" + c.file
		code, err := codeLines(file, c.src)
		if err != nil {
			return err
		}
		added := slices.DeleteFunc(c.added, func(line int) bool { return !code[line] })
		covers[file] = &cover{file, c.src, added, map[int]bool{}, map[int]bool{}}
	}
	return err
}

// codeLines returns the lines of src that hold code: not those with only
// comments or closing brackets, nor the package clause and the imports.
func codeLines(file string, src []byte) (map[int]bool, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, file, src, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	head := tree.Name.End()
	for _, decl := range tree.Decls { // the imports
		head = max(head, decl.(*ast.GenDecl).End())
	}
	lines := map[int]bool{}
	var s scanner.Scanner
	s.Init(fset.AddFile(file, -1, len(src)), src, nil, 0)
	rows := strings.Split(string(src), "\n")
	for {
		pos, tok, literal := s.Scan()
		at := fset.Position(pos)
		switch {
		case tok == token.EOF:
			return lines, nil
		case at.Offset < fset.Position(head).Offset || slices.Contains(closing, tok):
			continue
		}
		for i := range 1 + strings.Count(strings.TrimSuffix(literal, "\n"), "\n") {
			lines[at.Line+i] = strings.TrimSpace(rows[at.Line+i-1]) != ""
		}
	}
}

var closing = []token.Token{token.RPAREN, token.RBRACK, token.RBRACE, token.COMMA, token.SEMICOLON}

// show marks the lines of the named regions. What does not exist is reported
// where code blocks are checked.
func (c *cover) show(names []string) {
	found, _ := find(c.file, c.src, names)
	for _, line := range c.within(found) {
		c.shown[line] = true
	}
}

// within returns the added lines that lie in one of the regions.
func (c *cover) within(regions []region) []int {
	var lines []int
	for _, r := range regions {
		first, last := r.lines(c.src)
		for _, line := range c.added {
			if first <= line && line <= last {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// leave reads the lists under the headings "Left to the reader" of ch.
func (n *notes) leave(ch *chapter, covers map[string]*cover) {
	level := 0 // of the heading that we are under, 0 outside
	for node := ch.tree.FirstChild(); node != nil; node = node.NextSibling() {
		switch node := node.(type) {
		case *md.Heading:
			if strings.EqualFold(string(node.Lines().Value(ch.src)), "left to the reader") {
				level = node.Level
			} else if node.Level <= level {
				level = 0
			}
		case *md.List:
			for item := node.FirstChild(); level > 0 && item != nil; item = item.NextSibling() {
				if err := leaveItem(ch, item, covers); err != nil {
					n.say(ch, item.FirstChild().Lines().At(0).Start, "%v", err)
				}
			}
		}
	}
}

// leftItem matches `part1-hello/main.go`, `usage`: why
var leftItem = regexp.MustCompile("(?s)^`([^`]+)`((?:,\\s+`[^`]+`)*): +\\S")

func leaveItem(ch *chapter, item md.Node, covers map[string]*cover) error {
	m := leftItem.FindSubmatch(item.FirstChild().Lines().Value(ch.src))
	if m == nil {
		return fmt.Errorf("not of the form - `FILE`, `REGION`: why it is left to the reader")
	}
	q := quote{string(m[1]), spans(string(m[2]))}
	if len(q.names) == 0 {
		q.names = []string{"all"}
	}
	c := covers[q.file]
	if c == nil {
		return fmt.Errorf("%s is not a file whose code a chapter has to show", q.file)
	}
	for _, name := range q.names {
		found, err := find(c.file, c.src, []string{name})
		if err != nil {
			return err
		}
		lines := slices.DeleteFunc(c.within(found), func(line int) bool { return c.shown[line] })
		if len(lines) == 0 {
			return fmt.Errorf("nothing of %s, %s is left: it is shown, or has no new code; take it off the list", q.file, name)
		}
		for _, line := range lines {
			c.left[line] = true
		}
	}
	return nil
}

// sumCover says how much of part the prose covers, and reports the rest.
func (n *notes) sumCover(part string, covers map[string]*cover) {
	total, shown, left := 0, 0, 0
	for _, file := range n.goFiles(part) {
		c := covers[path.Join(part, file)]
		if c == nil {
			continue
		}
		total, shown, left = total+len(c.added), shown+len(c.shown), left+len(c.left)
		all, _ := regions(c.file, c.src)
		for _, region := range all[1:] { // without `all`
			if bare := c.take(region); len(bare) > 0 {
				text := fmt.Sprintf("`%s` is in no chapter, to line %d: show it, or list it under \"Left to the reader\"", region.name, bare[len(bare)-1])
				n.findings = append(n.findings, finding{c.file, bare[0], text, nil})
			}
		}
	}
	n.sum("prose covers %d %% of the %d lines %s adds; %d are left to the reader", 100*shown/max(total, 1), total, part, left)
}

// take returns the lines of region that the prose does not answer for, and
// counts them as answered: the names of a group share their lines.
func (c *cover) take(r region) []int {
	bare := slices.DeleteFunc(c.within([]region{r}), func(line int) bool { return c.shown[line] || c.left[line] })
	for _, line := range bare {
		c.left[line] = true
	}
	return bare
}

// A chapter that names its subject, `<!-- subject FILE... -->` under its title, shows
// most of it and is not long.
const (
	subjectShown = 80   // percent of the subject's lines that some chapter shows
	subjectWords = 3000 // of prose
)

var subjectMark = regexp.MustCompile(`(?m)^<!-- subject ([^>]+) -->$`)

// sumSubject says how much of its subject c shows and how long its prose is, and
// reports what misses the mark.
func (n *notes) sumSubject(c *chapter, covers map[string]*cover) {
	m := subjectMark.FindSubmatchIndex(c.src)
	if m == nil {
		return
	}
	total, shown := 0, 0
	for _, file := range strings.Fields(string(c.src[m[2]:m[3]])) {
		cover := covers[file]
		if cover == nil {
			n.say(c, m[0], "%s is not a file whose code a chapter has to show", file)
			continue
		}
		total, shown = total+len(cover.added), shown+len(cover.shown)
	}
	words, percent := c.words(), 100*shown/max(total, 1)
	if percent < subjectShown {
		n.say(c, m[0], "%d %% of the %d lines of the subject are shown: %d %% have to be", percent, total, subjectShown)
	}
	if words > subjectWords {
		n.say(c, m[0], "%d words of prose: %d at most", words, subjectWords)
	}
	n.sum("%s: %d words, and %d %% of the %d lines of its subject", path.Base(c.file), words, percent, total)
}

// captioned is a figure with its caption, a paragraph in italics.
var captioned = regexp.MustCompile(`(?m)^!\[.*\n(\n\*.*\*\n)?`)

// words counts the words of c's prose: without code blocks and the lines that say where
// those are from, figures, tables, and the lists of a step's tests.
func (c *chapter) words() int {
	fences, _ := c.fences()
	words, from := 0, 0
	for _, f := range append(fences, fence{start: len(c.src), end: len(c.src)}) {
		for line := range strings.Lines(captioned.ReplaceAllString(string(c.src[from:f.start]), "")) {
			if !quoted.MatchString(strings.TrimSpace(line)) && !strings.HasPrefix(line, "Tests: ") && !strings.HasPrefix(line, "|") {
				words += len(strings.Fields(line))
			}
		}
		from = f.end
	}
	return words
}
