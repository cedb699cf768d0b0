package book

import (
	"strings"

	"github.com/yuin/goldmark/ast"
)

// passages returns the page's sections as the search sees them: their words, and the
// names of the code that they show, but no code.
func (p *Page) passages() []passage {
	all := []passage{{To: p.Name, Page: p.Title, Title: p.Title}}
	for node := p.tree.FirstChild(); node != nil; node = node.NextSibling() {
		last := &all[len(all)-1]
		switch node := node.(type) {
		case *ast.Heading:
			if node.Level == 1 {
				continue
			}
			all = append(all, passage{To: p.Name + "#" + attribute(node, "id"), Page: p.Title, Title: plain(node, p.src)})
			continue
		case *ast.FencedCodeBlock, *ast.HTMLBlock:
			continue
		}
		words := plain(node, p.src)
		if id := attribute(node, "id"); id != "" { // an entry of the glossary
			name, about, _ := strings.Cut(words, ". ")
			all = append(all, passage{To: p.Name + "#" + id, Page: p.Title, Title: name, Text: about})
			continue
		}
		last.Text += words + "\n"
	}
	return all
}
