package book

import (
	"fmt"
	"html/template"
	"regexp"
	"strings"

	"github.com/yuin/goldmark/ast"
	extension "github.com/yuin/goldmark/extension/ast"
)

// A body is a page's text on its way to HTML, block by block.
type body struct {
	b     *Book
	page  *Page
	paper bool // for the EPUB: no anchors to point at, nothing folded
	out   strings.Builder

	predicting bool // in a section of predictions, ahead of its answers
	folded     bool // in its answers
}

// body returns the page's text as XHTML.
func (b *Book) body(page *Page, paper bool) (string, error) {
	w := &body{b: b, page: page, paper: paper}
	for block := page.tree.FirstChild(); block != nil; block = block.NextSibling() {
		if err := w.block(block); err != nil {
			return "", fmt.Errorf("%s: %w", page.path, err)
		}
	}
	w.unfold()
	return w.out.String(), nil
}

func (w *body) block(block ast.Node) error {
	switch node := block.(type) {
	case *ast.HTMLBlock:
		if strings.HasPrefix(string(node.Lines().Value(w.page.src)), "<!--") {
			return nil // a note to the program that keeps the pages true
		}
	case *ast.Heading:
		return w.heading(node)
	}
	if w.predicting && block.PreviousSibling().Kind() == ast.KindList {
		w.predicting = false
		w.fold(block)
	}
	switch node := block.(type) {
	case *extension.Table:
		return w.table(node)
	case *ast.Paragraph:
		if image, ok := node.FirstChild().(*ast.Image); ok && image.NextSibling() == nil {
			return w.figure(image)
		}
	}
	if err := Markdown.Renderer().Render(&w.out, w.page.src, block); err != nil {
		return err
	}
	if pitch, ok := block.PreviousSibling().(*ast.Heading); ok && pitch.Level == 1 && w.page.Kind == Cover && !w.paper {
		w.ways()
	}
	return nil
}

// heading writes a heading that links to itself.
func (w *body) heading(node *ast.Heading) error {
	id, title := attribute(node, "id"), plain(node, w.page.src)
	if node.Level <= 2 {
		w.unfold()
		w.predicting = strings.Contains(title, "predictions")
	}
	step := ""
	if m := stepTitle.FindStringSubmatch(title); m != nil && w.page.Kind == Chapter && !w.paper {
		step = fmt.Sprintf(` data-step="%s"`, m[1])
	}
	fmt.Fprintf(&w.out, `<h%d id="%s"%s>`, node.Level, id, step)
	for child := node.FirstChild(); child != nil; child = child.NextSibling() {
		if err := Markdown.Renderer().Render(&w.out, w.page.src, child); err != nil {
			return err
		}
	}
	if node.Level > 1 && !w.paper {
		fmt.Fprintf(&w.out, ` <a class="self" href="#%s" aria-label="Link to this section">#</a>`, id)
	}
	fmt.Fprintf(&w.out, "</h%d>\n", node.Level)
	return nil
}

// fold begins the answers to predictions, at block. Its summary names the command
// that prints them.
func (w *body) fold(block ast.Node) {
	if w.paper {
		return
	}
	how := "Write your answers down, then open this."
	for node := block; node != nil && node.Kind() != ast.KindHeading; node = node.NextSibling() {
		fence, ok := node.(*ast.FencedCodeBlock)
		if !ok || string(fence.Language(w.page.src)) != "console" {
			continue
		}
		if command := prompt.FindString(string(fence.Lines().Value(w.page.src))); strings.Contains(command, " demo") {
			how = fmt.Sprintf("Write your answers down, run <code>%s</code>, then open this.", codeEscaper.Replace(command[2:]))
		}
		break
	}
	fmt.Fprintf(&w.out, "<details class=\"answers\"><summary><b>The answers.</b> %s</summary>\n", how)
	w.folded = true
}

func (w *body) unfold() {
	if w.folded {
		w.out.WriteString("</details>\n")
	}
	w.folded, w.predicting = false, false
}

// table writes a table that scrolls where it is too wide. The corner above the names of
// its rows is no heading.
func (w *body) table(node *extension.Table) error {
	var table strings.Builder
	err := Markdown.Renderer().Render(&table, w.page.src, node)
	text := strings.ReplaceAll(table.String(), `<th scope="col"></th>`, "<td></td>")
	text = longName.ReplaceAllStringFunc(text, func(name string) string { return hump.ReplaceAllString(name, "$1<wbr/>$2") })
	fmt.Fprintf(&w.out, "<div class=\"wide\" role=\"group\" tabindex=\"0\" aria-label=\"A table\">%s</div>\n", text)
	return err
}

var (
	longName = regexp.MustCompile(`<code>[A-Za-z]{20,}`)
	hump     = regexp.MustCompile(`([a-z])([A-Z])`) // where a name may be broken
)

// size matches what a figure says of its own size.
var size = regexp.MustCompile(`<svg[^>]* width="(\d+)" height="(\d+)"`)

// figure writes an image with its size, so that the text does not jump when it loads.
func (w *body) figure(image *ast.Image) error {
	src := string(image.Destination)
	var sized string
	if m := size.FindSubmatch(w.b.figures[src]); m != nil {
		sized = fmt.Sprintf(` width="%s" height="%s"`, m[1], m[2])
	}
	fmt.Fprintf(&w.out, "<figure><img src=\"%s\" alt=\"%s\"%s/></figure>\n", escape(src), escape(plain(image, w.page.src)), sized)
	return nil
}

// ways writes what a reader can do next, below the pitch.
func (w *body) ways() {
	first := w.b.kind(Chapter)[0]
	fmt.Fprintf(&w.out, "<p class=\"ways\"><a class=\"begin\" href=\"%s\">Begin with chapter 1</a> <a href=\"notes.html\">How to read</a> <a href=\"%s\">As an EPUB</a></p>\n",
		first.Name, epubName)
}

// timed adds to each row of the cover's table how long the chapter takes.
func (b *Book) timed(cover *Page) {
	_ = ast.Walk(cover.tree, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		link, ok := node.(*ast.Link)
		if !ok || !entering || link.Parent().Kind() != extension.KindTableCell {
			return ast.WalkContinue, nil
		}
		for _, chapter := range b.kind(Chapter) {
			if chapter.Name == string(link.Destination) && chapter.Time != "" {
				time := ast.NewString([]byte(`<br/><small>` + template.HTMLEscapeString(chapter.Time) + `</small>`))
				time.SetCode(true) // as it is
				link.Parent().InsertAfter(link.Parent(), link, time)
			}
		}
		return ast.WalkContinue, nil
	})
}
