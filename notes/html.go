package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/yuin/goldmark/ast"
)

//go:embed page.html
var pageText string

// page is a chapter as a browser gets it. It fetches nothing but its figures.
var page = template.Must(template.New("page").Parse(pageText))

func htmlVerb(r repo, q request, out io.Writer) error {
	if len(q.names) != 1 {
		return usageError("html takes the directory to write to")
	}
	dir := q.names[0]
	if err := os.MkdirAll(filepath.Join(dir, "figures"), 0o755); err != nil {
		return err
	}
	for _, file := range append(r.glob("notes/*.md"), r.glob("notes/figures/*.svg")...) {
		src, err := r.read(file)
		if err == nil && strings.HasSuffix(file, ".md") {
			src, err = parseChapter(file, src).page()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := os.WriteFile(filepath.Join(dir, pageName(strings.TrimPrefix(file, "notes/"))), src, 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "the notes are in %s\n", dir)
	return nil
}

// page returns the chapter as a page. Links between chapters lead to pages; what
// is not among the pages is named, not linked.
func (c *chapter) page() ([]byte, error) {
	title := "HTTP, from the socket up"
	var links []*ast.Link
	c.walk(func(node ast.Node) {
		switch node := node.(type) {
		case *ast.Link:
			links = append(links, node)
		case *ast.Heading:
			if node.Level == 1 {
				title = string(node.Lines().Value(c.src))
			}
		}
	})
	for _, link := range links {
		to, err := url.Parse(string(link.Destination))
		if err != nil {
			return nil, err
		}
		if to.IsAbs() || to.Path == "" {
			continue
		}
		if to.Path = pageName(to.Path); strings.HasSuffix(to.Path, ".html") && !strings.Contains(to.Path, "/") {
			link.Destination = []byte(to.String())
			continue
		}
		for link.HasChildren() { // the link's text takes its place
			link.Parent().InsertBefore(link.Parent(), link, link.FirstChild())
		}
		link.Parent().RemoveChild(link.Parent(), link)
	}
	body, err := c.html()
	if err != nil {
		return nil, err
	}
	var whole bytes.Buffer
	err = page.Execute(&whole, struct {
		Title string
		Body  template.HTML
	}{title, template.HTML(body)})
	return whole.Bytes(), err
}

// pageName is the page of a chapter; README is the index.
func pageName(file string) string {
	if file == "README.md" {
		return "index.html"
	}
	if name, ok := strings.CutSuffix(file, ".md"); ok {
		return name + ".html"
	}
	return file
}
