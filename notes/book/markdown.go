package book

import (
	"bytes"
	"strconv"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// Markdown parses and renders the chapters, in GitHub's dialect. Its output is XHTML as well, for the EPUB.
// The HTML in the chapters is our own, and passes.
var Markdown = goldmark.New(
	goldmark.WithExtensions(extension.Linkify, extension.Strikethrough, extension.TaskList,
		extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignStyle))), // XHTML has no align
	goldmark.WithParserOptions(parser.WithAutoHeadingID()),
	goldmark.WithRendererOptions(html.WithUnsafe(), html.WithXHTML(),
		renderer.WithNodeRenderers(util.Prioritized(blocks{}, 100))),
)

// Parse returns the tree of src. Its headings have the ids that GitHub gives them.
func Parse(src []byte) ast.Node {
	return Markdown.Parser().Parse(text.NewReader(src), parser.WithContext(parser.NewContext(parser.WithIDs(anchors{}))))
}

// anchors gives headings their ids. It counts the headings that would have the same.
type anchors map[string]int

func (a anchors) Generate(heading []byte, _ ast.NodeKind) []byte {
	slug := string(bytes.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r):
			return unicode.ToLower(r)
		}
		return -1
	}, bytes.TrimSpace(heading)))
	seen := a[slug]
	a[slug]++
	if seen > 0 {
		slug += "-" + strconv.Itoa(seen)
	}
	return []byte(slug)
}

// Put is told of an id that a heading gives itself.
func (a anchors) Put(id []byte) { a[string(id)]++ }

// plain returns the text under node without its markup.
func plain(node ast.Node, src []byte) string {
	var b bytes.Buffer
	_ = ast.Walk(node, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n := n.(type) {
		case *ast.Text:
			if entering {
				b.Write(n.Segment.Value(src))
				if n.SoftLineBreak() || n.HardLineBreak() {
					b.WriteByte(' ')
				}
			}
		case *ast.String:
			if entering {
				b.Write(n.Value)
			}
		case *ast.AutoLink:
			if entering {
				b.Write(n.Label(src))
			}
		default:
			if !entering && n.Type() == ast.TypeBlock {
				b.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return string(bytes.TrimSpace(b.Bytes()))
}

// attribute returns an attribute of node that is bytes or a string, or "".
func attribute(node ast.Node, name string) string {
	value, _ := node.AttributeString(name)
	switch value := value.(type) {
	case []byte:
		return string(value)
	case string:
		return value
	}
	return ""
}
