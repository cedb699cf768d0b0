package book

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"
	extension "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

// A linker makes links of what a page names: sections of RFCs, source files, tests,
// terms of the glossary.
type linker struct {
	b    *Book
	page *Page
	part string          // the part that the text is about: part3-pipelining
	rfc  string          // the one that the paragraph named last
	seen map[string]bool // terms that the page has linked: the first mention is enough
}

// link changes the blocks of a page. It goes from one to the next, since a heading can
// say which part the rest is about.
func (l *linker) link(tree ast.Node) {
	l.part = l.page.part
	for block := tree.FirstChild(); block != nil; block = block.NextSibling() {
		if m := partHead.FindStringSubmatch(plain(block, l.page.src)); m != nil && block.Kind() == ast.KindHeading {
			l.part = l.b.partNumbered(m[1])
		}
		l.walk(block)
	}
}

var partHead = regexp.MustCompile(`^Part ([1-9])\b`)

// walk changes what is under node. It looks at a node's children before it changes any.
func (l *linker) walk(node ast.Node) {
	switch node := node.(type) {
	case *ast.Heading, *ast.FencedCodeBlock, *ast.HTMLBlock:
		return
	case *ast.Link:
		l.page.resolve(node, l.b)
		return
	case *ast.CodeSpan:
		l.codeSpan(node)
		return
	case *ast.Text:
		l.text(node)
		return
	case *ast.Emphasis:
		if entry, ok := l.b.terms.named(plain(node, l.page.src)); ok && (node.Level == 1 || !isEveryday(plain(node, l.page.src))) {
			wrap(node, "glossary.html#"+entry.id, entry.about, "term")
			l.seen[entry.id] = true
			return
		}
	case *ast.Paragraph:
		l.rfc = ""
		if l.quote(node) {
			return
		}
		if only, ok := node.FirstChild().(*ast.Emphasis); ok && only.NextSibling() == nil {
			node.SetAttributeString("class", []byte("note")) // how long a step takes, a figure's caption
		}
	case *extension.TableRow:
		l.rfc = ""
	case *extension.TableCell:
		if node.Parent().Kind() == extension.KindTableHeader {
			node.SetAttributeString("scope", []byte("col"))
		}
	}
	joinTexts(node, l.page.src)
	for child := node.FirstChild(); child != nil; {
		next := child.NextSibling()
		l.walk(child)
		child = next
	}
}

// joinTexts makes one text of neighbours under node: the parser cuts between words,
// and a name may have several.
func joinTexts(node ast.Node, src []byte) {
	for child := node.FirstChild(); child != nil; child = child.NextSibling() {
		text, ok := child.(*ast.Text)
		for next := child.NextSibling(); ok && next != nil && text.Merge(next, src); next = child.NextSibling() {
			node.RemoveChild(node, next)
		}
	}
}

// wrap puts node inside a link.
func wrap(node ast.Node, to, title, class string) {
	link := ast.NewLink()
	link.Destination = []byte(to)
	if title != "" {
		link.Title = []byte(title)
	}
	if class != "" {
		link.SetAttributeString("class", []byte(class))
	}
	parent := node.Parent()
	parent.ReplaceChild(parent, node, link)
	link.AppendChild(link, node)
}

// quote links the paragraph above a block, `part1-hello/server.go`, `server.serve`: the file
// leads to the first declaration. The other names, which the block shows, are left out: they
// would be a sixth of a page. It returns whether node is one.
func (l *linker) quote(node *ast.Paragraph) bool {
	if next := node.NextSibling(); next == nil || next.Kind() != ast.KindFencedCodeBlock {
		return false
	}
	var spans []*ast.CodeSpan
	for child := node.FirstChild(); child != nil; child = child.NextSibling() {
		switch child := child.(type) {
		case *ast.CodeSpan:
			spans = append(spans, child)
		case *ast.Text:
			if strings.TrimSpace(string(child.Segment.Value(l.page.src))) != "," {
				return false
			}
		default:
			return false
		}
	}
	if len(spans) < 2 || l.b.sources.byPath[plain(spans[0], l.page.src)] == nil {
		return false
	}
	file := plain(spans[0], l.page.src)
	node.SetAttributeString("class", []byte("from"))
	to := l.b.sources.within(file, plain(spans[1], l.page.src))
	node.RemoveChildren(node)
	node.AppendChild(node, spans[0])
	wrap(spans[0], to, "", "")
	return true
}

// codeSpan links a test or a file.
func (l *linker) codeSpan(node *ast.CodeSpan) {
	name := plain(node, l.page.src)
	to := ""
	if whole, _, _ := strings.Cut(name, "/"); testName.MatchString(whole) {
		to = l.b.sources.test(name, l.part)
	} else if fileName.MatchString(name) {
		to = l.b.sources.file(name, l.part, l.page.subjects)
	}
	if to != "" {
		wrap(node, to, "", "")
	}
}

var fileName = regexp.MustCompile(`^[\w./-]+\.(go|py|js|sh)$`)

// rfcName matches an RFC, or a section of the one that was named last. Tables leave
// the letters out: 9112 §2.2.
var rfcName = regexp.MustCompile(`(?:RFC )?\b(\d{4}) §(\d+(?:\.\d+)*)|RFC (\d{3,4})|§(\d+(?:\.\d+)*)`)

// A mention is a stretch of a text that becomes a link.
type mention struct {
	start, end       int
	to, title, class string
}

// text links the RFC sections and the terms in a piece of text.
func (l *linker) text(node *ast.Text) {
	segment := node.Segment
	words := string(segment.Value(l.page.src))
	found := append(l.rfcs(words), l.steps(words)...)
	if l.page.file != "glossary.md" {
		found = append(found, l.terms(words)...)
	}
	slices.SortFunc(found, func(a, b mention) int { return a.start - b.start })
	from := 0
	for _, m := range found {
		if m.start < from {
			continue
		}
		piece := ast.NewTextSegment(text.NewSegment(segment.Start+from, segment.Start+m.start))
		inner := ast.NewTextSegment(text.NewSegment(segment.Start+m.start, segment.Start+m.end))
		node.Parent().InsertBefore(node.Parent(), node, piece)
		node.Parent().InsertBefore(node.Parent(), node, inner)
		wrap(inner, m.to, m.title, m.class)
		from = m.end
	}
	node.Segment = text.NewSegment(segment.Start+from, segment.Stop)
}

func (l *linker) rfcs(words string) (found []mention) {
	for _, at := range rfcName.FindAllStringSubmatchIndex(words, -1) {
		group := func(i int) string {
			if at[2*i] < 0 {
				return ""
			}
			return words[at[2*i]:at[2*i+1]]
		}
		number, section := group(1)+group(3), group(2)+group(4)
		if number != "" {
			l.rfc = number
		} else if number = l.rfc; number == "" {
			continue
		}
		to := "https://www.rfc-editor.org/rfc/rfc" + number
		if section != "" {
			to += "#section-" + section
		}
		found = append(found, mention{at[0], at[1], to, "", ""})
	}
	return found
}

// toRead is where a step says what to read: 01-hello.md, Step 1.1 · A socket that listens.
var (
	toRead   = regexp.MustCompile(`^read: ((\d\d-[a-z-]+\.md), (.+))$`)
	bareTest = regexp.MustCompile(`\bTest[A-Z]\w*`)
)

// steps links what the files of steps name: tests, and a section to read.
func (l *linker) steps(words string) (found []mention) {
	if m := toRead.FindStringSubmatchIndex(words); m != nil {
		if page := l.b.byPath["notes/"+words[m[4]:m[5]]]; page != nil {
			to := page.Name
			for _, s := range page.Sections {
				if s.Title == words[m[6]:m[7]] {
					to += "#" + s.ID
				}
			}
			found = append(found, mention{m[2], m[3], to, "", ""})
		}
	}
	for _, at := range bareTest.FindAllStringIndex(words, -1) {
		if to := l.b.sources.test(words[at[0]:at[1]], l.part); to != "" {
			found = append(found, mention{at[0], at[1], to, "", ""})
		}
	}
	return found
}

func (l *linker) terms(words string) (found []mention) {
	for _, at := range l.b.terms.find.FindAllStringIndex(words, -1) {
		name := words[at[0]:at[1]]
		entry, ok := l.b.terms.named(name)
		if !ok || isEveryday(name) || l.seen[entry.id] {
			continue
		}
		l.seen[entry.id] = true
		found = append(found, mention{at[0], at[1], "glossary.html#" + entry.id, entry.about, "term"})
	}
	return found
}

// resolve turns a link between files of the repository into one between pages. What
// is not in the book is named, not linked.
func (p *Page) resolve(link *ast.Link, b *Book) {
	to, err := url.Parse(string(link.Destination))
	if err != nil || to.IsAbs() || to.Path == "" {
		return
	}
	file := path.Join(path.Dir(p.path), to.Path)
	at := ""
	if page := b.byPath[file]; page != nil {
		at = page.Name
	} else if source := b.sources.byPath[file]; source != nil {
		at = b.sources.file(file, "", nil)
	} else if partDir.MatchString(file) {
		at = "files.html#part-" + file[4:5]
	}
	if at == "" {
		for link.HasChildren() { // the link's text takes its place
			link.Parent().InsertBefore(link.Parent(), link, link.FirstChild())
		}
		link.Parent().RemoveChild(link.Parent(), link)
		return
	}
	if to.Fragment != "" {
		at += "#" + to.Fragment
	}
	link.Destination = []byte(at)
}

var partDir = regexp.MustCompile(`^part[1-9]-[a-z]+$`)
