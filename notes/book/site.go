package book

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"
)

//go:embed assets
var assets embed.FS

var page = template.Must(template.ParseFS(assets, "assets/page.html"))

// Options say where the site will be read.
type Options struct {
	Served bool    // by part 3's server, which the foot of each page then says
	More   []Extra // pages that are made elsewhere, in the order of the list of contents
}

// An Extra is a page that is not made of Markdown, such as the lab.
type Extra struct {
	Name, Title string // lab.html, The lab
	Head, Body  template.HTML
}

// A view is what the template shows.
type view struct {
	Options
	Book             string
	Title            string
	Up               string // the way to the book's top: ../
	Head, Body       template.HTML
	Page             *Page // nil for source files and extras
	Prev, Next       *Page
	Chapters, Others []*Page
}

// Cover reports whether this is the page that / leads to.
func (v view) Cover() bool { return v.Page != nil && v.Page.Kind == Cover }

// An entry is a chapter in the list of contents.
type entry struct {
	Up        string
	Page      *Page
	Open, all bool // it is the page itself, whose sections are in sight
}

// Shown reports whether the entry has the chapter's sections. A chapter has its own
// alone, and a source file none, to stay small.
func (e entry) Shown() bool { return e.Open || e.all }

// Entry returns the entry of a chapter.
func (v view) Entry(p *Page) entry {
	return entry{v.Up, p, p == v.Page, v.Up == "" && (v.Page == nil || v.Page.Kind != Chapter)}
}

// Site returns the files of the web book by their paths. They refer to each other with
// relative links only, so that they work from any directory, and without a server.
func (b *Book) Site(o Options) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range []string{"book.css", "book.js", "minisearch.js", "minisearch.LICENSE"} {
		asset, err := assets.ReadFile("assets/" + name)
		if err != nil {
			return nil, err
		}
		files[name] = asset
	}
	for name, svg := range b.figures {
		files[name] = svg
	}
	for _, p := range b.pages {
		text, err := b.body(p, false)
		if err != nil {
			return nil, err
		}
		v := view{Page: p, Title: p.Title, Body: template.HTML(text)}
		v.Prev, v.Next = b.around(p)
		if files[p.Name], err = b.frame(v, o); err != nil {
			return nil, err
		}
	}
	for _, extra := range o.More {
		var err error
		if files[extra.Name], err = b.frame(view{Title: extra.Title, Head: extra.Head, Body: extra.Body}, o); err != nil {
			return nil, err
		}
	}
	if err := b.sourcePages(files, o); err != nil {
		return nil, err
	}
	var err error
	if files["search-index.js"], err = b.searchIndex(); err != nil {
		return nil, err
	}
	files[epubName], err = b.EPUB()
	return files, err
}

// frame puts a page's text between the list of contents and the foot.
func (b *Book) frame(v view, o Options) ([]byte, error) {
	v.Book, v.Options = Title, o
	v.Chapters, v.Others = b.kind(Chapter), b.kind(Reference)
	var out bytes.Buffer
	err := page.Execute(&out, v)
	return out.Bytes(), err
}

// sourcePages adds the files that a page has linked to.
func (b *Book) sourcePages(files map[string][]byte, o Options) error {
	for _, file := range b.sources.paths {
		if !b.sources.wanted[file] {
			continue
		}
		text := fmt.Sprintf("<h1 class=\"file\">%s</h1>\n<pre tabindex=\"0\" class=\"whole\"><code>%s</code></pre>\n", escape(file), b.sources.byPath[file].code())
		name := "src/" + file + ".html"
		html, err := b.frame(view{Title: file, Up: strings.Repeat("../", strings.Count(name, "/")), Body: template.HTML(text)}, o)
		if err != nil {
			return err
		}
		files[name] = html
	}
	return nil
}

// A passage is what the search finds: a section, or the beginning of a page.
type passage struct {
	ID    int    `json:"id"`
	To    string `json:"to"`
	Page  string `json:"page"`
	Title string `json:"title"`
	Text  string `json:"text"`
}

// searchIndex returns the passages as a script, since a page that was opened from a
// file may run scripts beside it and not read files.
func (b *Book) searchIndex() ([]byte, error) {
	var all []passage
	for _, p := range b.pages {
		all = append(all, p.passages()...)
	}
	for i := range all {
		all[i].ID = i
	}
	list, err := json.Marshal(all)
	return slices.Concat([]byte("window.bookPassages = "), list, []byte(";\n")), err
}
