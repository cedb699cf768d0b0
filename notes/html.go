package main

import (
	"bytes"
	"flag"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
)

// page is a chapter as a browser gets it. It fetches nothing but its figures.
var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{.Title}}</title>
<style>
:root { color-scheme: light dark; --line: #d0d7de; --code: #f6f8fa; --link: #0550ae }
@media (prefers-color-scheme: dark) { :root { --line: #30363d; --code: #161b22; --link: #79c0ff } }
body { max-width: 46rem; margin: 0 auto; padding: 1.5rem; font: 1.05rem/1.6 system-ui, sans-serif }
h1, h2, h3 { line-height: 1.25; margin-top: 2em } h1 { margin-top: 1em }
a { color: var(--link) }
pre, code { font: .9em/1.45 ui-monospace, "DejaVu Sans Mono", monospace; background: var(--code); border-radius: 6px }
code { padding: .1em .3em } pre { padding: .8em 1em; overflow-x: auto } pre code { padding: 0 }
img { max-width: 100% } table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { border: 1px solid var(--line); padding: .3em .7em; text-align: left }
nav, footer { color: GrayText; font-size: .9rem } footer { border-top: 1px solid var(--line); margin-top: 3em; padding-top: 1em }
</style>
<nav><a href="index.html">The notes</a> · <a href="glossary.html">Glossary</a> · <a href="contract.html">The contract</a></nav>
<main>{{.Body}}</main>
<footer>Your browser got this page from the server of part 3, over the sockets that the chapter is about: it is one more real client.</footer>
</html>
`))

// writer makes HTML with GitHub's anchors.
var writer = goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithParserOptions(parser.WithAutoHeadingID()))

var (
	linkTo    = regexp.MustCompile(`<a href="([^":]*)">`)
	linkAway  = regexp.MustCompile(`<a href="(?:\.\./[^"]*|[^":#.]*)">(.*?)</a>`) // or a directory
	firstHead = regexp.MustCompile(`(?m)^# (.+)$`)
)

func htmlVerb(r repo, args []string, out io.Writer) error {
	dirs, err := parse(flag.NewFlagSet("html", flag.ContinueOnError), args)
	if err == nil && len(dirs) != 1 {
		err = usageError("html takes the directory to write to")
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dirs[0], "figures"), 0o755); err != nil {
		return err
	}
	for _, file := range append(r.glob("notes/*.md"), r.glob("notes/figures/*.svg")...) {
		src, err := r.read(file)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(file, "notes/")
		if strings.HasSuffix(name, ".md") {
			if src, err = render(src); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			name = htmlName(name)
		}
		if err := os.WriteFile(filepath.Join(dirs[0], name), src, 0o644); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "the notes are in %s\n", dirs[0])
	return nil
}

// render turns a chapter into a page. Links between chapters lead to pages;
// what lies outside the notes is named, not linked.
func render(src []byte) ([]byte, error) {
	var body, whole bytes.Buffer
	if err := writer.Convert(src, &body); err != nil {
		return nil, err
	}
	text := linkAway.ReplaceAllString(body.String(), "$1")
	text = linkTo.ReplaceAllStringFunc(text, func(a string) string {
		file, anchor, _ := strings.Cut(linkTo.FindStringSubmatch(a)[1], "#")
		if anchor != "" {
			anchor = "#" + anchor
		}
		return `<a href="` + htmlName(file) + anchor + `">`
	})
	title := "HTTP, from the socket up"
	if head := firstHead.FindSubmatch(src); head != nil {
		title = string(head[1])
	}
	err := page.Execute(&whole, struct {
		Title string
		Body  template.HTML
	}{title, template.HTML(text)})
	return whole.Bytes(), err
}

// htmlName is the page of a chapter; README is the index.
func htmlName(file string) string {
	if file == "README.md" {
		return "index.html"
	}
	if name, ok := strings.CutSuffix(file, ".md"); ok {
		return name + ".html"
	}
	return file
}
