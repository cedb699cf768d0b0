package book

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/yuin/goldmark/ast"
)

// Title is the name of the course.
const Title = "HTTP, from the socket up"

// A Book is the series as it is on disk when Load reads it. It does not change, and
// any goroutine may use it.
type Book struct {
	root    string
	pages   []*Page          // in reading order
	byPath  map[string]*Page // by the path of their Markdown in the repository
	sources *sources
	terms   *terms
	figures map[string][]byte // figures/plan.svg
	changed time.Time         // when a page was changed last
}

// A Page is made of one Markdown file.
type Page struct {
	Name     string // 01-hello.html
	Title    string // 1 · Hello
	Kind     Kind
	Sections []Section // its headings of level two
	Time     string    // how long a chapter takes, in its own words

	path, file string // notes/01-hello.md, 01-hello.md
	src        []byte
	tree       ast.Node
	part       string   // the part that it is about, or ""
	subjects   []string // the files that it shows
}

// Kind says where a page stands in the book.
type Kind int

const (
	Cover     Kind = iota // the page that / leads to
	Chapter               // read one after the other
	Reference             // looked up
)

// A Section begins at a heading of level two.
type Section struct {
	ID, Title string
	Step      string // 1.3 where it is a step, else ""
}

// Load reads the chapters, their figures and the parts of the repository at root.
func Load(root string) (*Book, error) {
	sources, err := loadSources(root)
	if err != nil {
		return nil, err
	}
	b := &Book{root: root, byPath: map[string]*Page{}, sources: sources, figures: map[string][]byte{}}
	chapters, _ := filepath.Glob(filepath.Join(root, "notes", "0*.md")) // only a bad pattern is an error
	steps, _ := filepath.Glob(filepath.Join(root, "notes", "steps", "*.md"))
	others, _ := filepath.Glob(filepath.Join(root, "notes", "[a-z]*.md"))
	contributing, _ := filepath.Glob(filepath.Join(root, "CONTRIBUTING.md"))
	others = slices.DeleteFunc(others, func(file string) bool { return filepath.Base(file) == "contract.md" })
	for _, file := range slices.Concat([]string{"README.md"}, chapters,
		[]string{"notes/README.md", "notes/contract.md"}, steps, others, contributing) {
		if rel, err := filepath.Rel(root, file); err == nil {
			file = filepath.ToSlash(rel)
		}
		if err := b.add(file); err != nil {
			return nil, err
		}
	}
	if err := b.addFigures(); err != nil {
		return nil, err
	}
	if err := b.addLinkedFiles(); err != nil {
		return nil, err
	}
	for _, page := range b.pages {
		l := &linker{b: b, page: page, seen: map[string]bool{}}
		l.link(page.tree)
	}
	b.timed(b.byPath["README.md"])
	return b, nil
}

func (b *Book) addFigures() error {
	files, _ := filepath.Glob(filepath.Join(b.root, "notes", "figures", "*.svg"))
	for _, file := range files {
		svg, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		b.figures["figures/"+filepath.Base(file)] = svg
	}
	return nil
}

// addLinkedFiles adds the programs outside of the parts that a page links to.
func (b *Book) addLinkedFiles() (err error) {
	for _, page := range b.pages {
		_ = ast.Walk(page.tree, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
			if link, ok := node.(*ast.Link); ok && entering && fileName.Match(link.Destination) {
				file := path.Join(path.Dir(page.path), string(link.Destination))
				if _, e := os.Stat(filepath.Join(b.root, file)); e == nil && b.sources.byPath[file] == nil {
					err = b.sources.add(file)
				}
			}
			return ast.WalkContinue, err
		})
	}
	return err
}

var (
	// subject is the comment in which a chapter lists the files that it is about.
	subject   = regexp.MustCompile(`<!-- subject ([^>]*) -->`)
	stepTitle = regexp.MustCompile(`^(?:Step )?(\d+\.\d+)\b`)
	stepsOf   = regexp.MustCompile(`^notes/steps/part(\d)`)
)

// add reads one Markdown file.
func (b *Book) add(file string) error {
	src, err := os.ReadFile(filepath.Join(b.root, filepath.FromSlash(file)))
	if err != nil {
		return err
	}
	if info, err := os.Stat(filepath.Join(b.root, filepath.FromSlash(file))); err == nil && info.ModTime().After(b.changed) {
		b.changed = info.ModTime()
	}
	p := &Page{path: file, file: path.Base(file), src: src, tree: Parse(src), Title: Title, Kind: Reference}
	p.Name = strings.TrimSuffix(p.file, ".md") + ".html"
	switch {
	case file == "README.md":
		p.Kind, p.Name = Cover, "index.html"
	case file == "notes/README.md":
		p.Name = "notes.html"
	case strings.HasPrefix(file, "notes/steps/"):
		p.Name = "steps-" + p.Name
	case p.file[0] == '0':
		p.Kind = Chapter
	}
	if m := subject.FindSubmatch(src); m != nil {
		p.subjects = strings.Fields(string(m[1]))
		p.part, _, _ = strings.Cut(p.subjects[0], "/")
	} else if m := stepsOf.FindStringSubmatch(file); m != nil {
		p.part = b.partNumbered(m[1])
	}
	p.outline()
	if p.file == "glossary.md" {
		b.terms = readTerms(p.tree, src)
	}
	b.pages = append(b.pages, p)
	b.byPath[file] = p
	return nil
}

// outline reads the page's headings, and how long it takes.
func (p *Page) outline() {
	for node := p.tree.FirstChild(); node != nil; node = node.NextSibling() {
		switch node := node.(type) {
		case *ast.Heading:
			title := plain(node, p.src)
			if node.Level == 1 {
				p.Title = title
			} else if node.Level == 2 {
				s := Section{ID: attribute(node, "id"), Title: title}
				if m := stepTitle.FindStringSubmatch(title); m != nil && p.Kind == Chapter {
					s.Step = m[1]
				}
				p.Sections = append(p.Sections, s)
			}
		case *ast.Paragraph:
			if only, ok := node.FirstChild().(*ast.Emphasis); ok && only.NextSibling() == nil && p.Time == "" && len(p.Sections) == 0 {
				p.Time = plain(only, p.src)
			}
		}
	}
}

// partNumbered returns the directory of a part, or "".
func (b *Book) partNumbered(number string) string {
	for _, file := range b.sources.paths {
		if part, _, _ := strings.Cut(file, "/"); strings.HasPrefix(part, "part"+number+"-") {
			return part
		}
	}
	return ""
}

// kind returns the pages of a kind, in reading order.
func (b *Book) kind(kind Kind) (pages []*Page) {
	for _, page := range b.pages {
		if page.Kind == kind {
			pages = append(pages, page)
		}
	}
	return pages
}

// around returns the pages before and after page, or nil.
func (b *Book) around(page *Page) (prev, next *Page) {
	i := slices.Index(b.pages, page)
	if i > 0 {
		prev = b.pages[i-1]
	}
	if i+1 < len(b.pages) {
		next = b.pages[i+1]
	}
	return prev, next
}

// Short is the section's title without the word that every step has.
func (s Section) Short() string { return strings.TrimPrefix(s.Title, "Step ") }

// Steps returns the numbers of the page's steps, with spaces between them.
func (p *Page) Steps() string {
	var numbers []string
	for _, s := range p.Sections {
		if s.Step != "" {
			numbers = append(numbers, s.Step)
		}
	}
	return strings.Join(numbers, " ")
}
