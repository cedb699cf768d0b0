package book

import (
	"archive/zip"
	"bytes"
	"fmt"
	"html/template"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"
)

const epubName = "http-from-the-socket-up.epub"

// leaf is a page of the EPUB, contents its list of contents, packaging its list of
// files (EPUB 3.3).
var (
	leaf = template.Must(template.New("leaf").Parse(`<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
<head><title>{{.Title}}</title><link rel="stylesheet" type="text/css" href="book.css"/></head>
<body>{{.Body}}</body>
</html>
`))
	contents = template.Must(template.New("nav").Parse(`<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" xml:lang="en" lang="en">
<head><title>Contents</title><link rel="stylesheet" type="text/css" href="book.css"/></head>
<body><nav epub:type="toc"><h1>Contents</h1><ol>
{{range .}}<li><a href="{{.Leaf}}">{{.Title}}</a>{{if .Sections}}<ol>{{$leaf := .Leaf}}
{{range .Sections}}<li><a href="{{$leaf}}#{{.ID}}">{{.Title}}</a></li>
{{end}}</ol>{{end}}</li>
{{end}}</ol></nav></body>
</html>
`))
	packaging = texttemplate.Must(texttemplate.New("opf").Parse(`<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">urn:uuid:6c8f0f5e-2f0b-4d8e-9d0c-3a1d5b7e9112</dc:identifier>
<dc:title>{{.Title}}</dc:title><dc:language>en</dc:language>
<meta property="dcterms:modified">{{.Changed}}</meta>
</metadata>
<manifest>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="css" href="book.css" media-type="text/css"/>
{{range $i, $p := .Pages}}<item id="p{{$i}}" href="{{$p.Leaf}}" media-type="application/xhtml+xml"/>
{{end}}{{range $i, $f := .Figures}}<item id="f{{$i}}" href="{{$f}}" media-type="image/svg+xml"/>
{{end}}</manifest>
<spine>
{{range $i, $p := .Pages}}<itemref idref="p{{$i}}"/>
{{end}}</spine>
</package>
`))
)

const container = `<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="book/content.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>
`

// Leaf is the page's name in the EPUB.
func (p *Page) Leaf() string { return strings.TrimSuffix(p.Name, ".html") + ".xhtml" }

// EPUB returns the book as one file for a reading device. It has the pages and their
// figures, and no source files.
func (b *Book) EPUB() ([]byte, error) {
	var out bytes.Buffer
	z := &epubWriter{zip: zip.NewWriter(&out), changed: b.changed}
	z.add("mimetype", "application/epub+zip")
	z.add("META-INF/container.xml", container)
	figures := slices.Sorted(maps.Keys(b.figures))
	z.add("book/content.opf", packaging, map[string]any{
		"Title": Title, "Changed": b.changed.UTC().Format(time.RFC3339), "Pages": b.pages, "Figures": figures})
	z.add("book/nav.xhtml", contents, b.pages)
	css, err := assets.ReadFile("assets/epub.css")
	if err != nil {
		return nil, err
	}
	z.add("book/book.css", string(css))
	for _, p := range b.pages {
		text, err := b.body(p, true)
		if err != nil {
			return nil, err
		}
		z.add("book/"+p.Leaf(), leaf, map[string]any{"Title": p.Title, "Body": template.HTML(inward(text))})
	}
	for _, name := range figures {
		z.add("book/"+name, string(b.figures[name]))
	}
	if z.err != nil {
		return nil, z.err
	}
	err = z.zip.Close()
	return out.Bytes(), err
}

var (
	linkOut  = regexp.MustCompile(`(?s)<a [^>]*?href="src/[^"]*"[^>]*>(.*?)</a>`)
	linkPage = regexp.MustCompile(`(<a [^>]*?href="[\w-]+)\.html\b`)
)

// inward makes the links of a page lead to pages of the EPUB; a source file is named.
func inward(text string) string {
	return linkPage.ReplaceAllString(linkOut.ReplaceAllString(text, "$1"), "$1.xhtml")
}

// An epubWriter adds files to the archive, until one fails.
type epubWriter struct {
	zip     *zip.Writer
	changed time.Time
	err     error
}

// A filler writes data in its form.
type filler interface {
	Execute(w io.Writer, data any) error
}

// add writes a file: a string, or a template and its data. The first is not compressed,
// so that a program sees from the archive's first bytes what it is.
func (z *epubWriter) add(name string, what any, data ...any) {
	if z.err != nil {
		return
	}
	head := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: z.changed}
	if name == "mimetype" {
		head.Method, head.Modified = zip.Store, time.Time{}
	}
	var w io.Writer
	if w, z.err = z.zip.CreateHeader(head); z.err != nil {
		return
	}
	switch what := what.(type) {
	case string:
		_, z.err = io.WriteString(w, what)
	case filler:
		z.err = what.Execute(w, data[0])
	default:
		z.err = fmt.Errorf("%s is neither text nor a template", name)
	}
}
