package main

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"

	"socketup/notes/book"
)

// A chapter is one Markdown file.
type chapter struct {
	file string
	src  []byte
	tree ast.Node
}

// A fence is a fenced code block.
type fence struct {
	lang       string
	info       string // what follows lang
	start, end int    // its content within the chapter, whole lines
	about      quote  // what the paragraph before it says it shows
}

// A quote names regions of a file of the repository.
type quote struct {
	file  string
	names []string
}

func (r repo) chapter(file string) (*chapter, error) {
	src, err := r.read(file)
	if err != nil {
		return nil, err
	}
	return parseChapter(file, src), nil
}

func parseChapter(file string, src []byte) *chapter {
	return &chapter{file, src, book.Parse(src)}
}

// html returns the chapter's text as HTML, with the anchors that the book's pages have.
func (c *chapter) html() (string, error) {
	var b strings.Builder
	err := book.Markdown.Renderer().Render(&b, c.src, c.tree)
	return b.String(), err
}

// line returns the line that offset is on, counted from 1.
func (c *chapter) line(offset int) int { return 1 + bytes.Count(c.src[:offset], []byte("\n")) }

// walk calls f for every node of the chapter, in reading order.
func (c *chapter) walk(f func(ast.Node)) {
	_ = ast.Walk(c.tree, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			f(node)
		}
		return ast.WalkContinue, nil
	})
}

// fences returns the blocks that stand at the left edge, outside of lists and
// quotations: those are the ones that can be rewritten. inner has the offsets
// of the others.
func (c *chapter) fences() (fences []fence, inner []int) {
	c.walk(func(node ast.Node) {
		block, ok := node.(*ast.FencedCodeBlock)
		if !ok || block.Info == nil {
			return
		}
		info := block.Info.Segment
		begin := 1 + bytes.LastIndexByte(c.src[:info.Start], '\n')
		if c.src[begin] != '`' && c.src[begin] != '~' {
			inner = append(inner, info.Start)
			return
		}
		f := fence{lang: string(block.Language(c.src)), about: c.quoteBefore(block)}
		f.info = strings.TrimSpace(strings.TrimPrefix(string(info.Value(c.src)), f.lang))
		f.start = min(info.Stop+1, len(c.src))
		f.end = f.start
		if n := block.Lines().Len(); n > 0 {
			f.end = block.Lines().At(n - 1).Stop
		}
		fences = append(fences, f)
	})
	return fences, inner
}

// quoted matches a paragraph like `part1-hello/server.go`, `server.serve`.
var quoted = regexp.MustCompile("^`([^`]+)`((?:,\\s+`[^`]+`)+)\\s*$")

func (c *chapter) quoteBefore(block ast.Node) quote {
	paragraph, ok := block.PreviousSibling().(*ast.Paragraph)
	if !ok {
		return quote{}
	}
	m := quoted.FindSubmatch(paragraph.Lines().Value(c.src))
	if m == nil {
		return quote{}
	}
	return quote{string(m[1]), spans(string(m[2]))}
}

// spans returns the contents of the code spans of s.
func spans(s string) []string {
	var found []string
	for i, piece := range strings.Split(s, "`") {
		if i%2 == 1 {
			found = append(found, piece)
		}
	}
	return found
}

func (q quote) String() string { return q.file + ", " + strings.Join(q.names, ", ") }

// notes is one check of the chapters: what it reads and what it finds.
type notes struct {
	repo
	chapters []*chapter // the *.md of notes
	strict   bool       // what cannot be checked is a finding too
	findings []finding
	sums     []string // one line per check: how much it looked at
}

// taughtParts returns the parts whose code the chapters show.
func (n *notes) taughtParts() []string {
	return slices.DeleteFunc(n.parts(), func(part string) bool {
		return !slices.ContainsFunc(n.chapters, func(c *chapter) bool {
			fences, _ := c.fences()
			return slices.ContainsFunc(fences, func(f fence) bool { return strings.HasPrefix(f.about.file, part+"/") })
		})
	})
}
