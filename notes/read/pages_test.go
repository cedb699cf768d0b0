package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

//go:embed testdata/axe.min.js
var axe string

// looked are the pages that the tests look at: all but the source files, which have
// one form, and of those the longest lines.
func looked(t *testing.T) (names []string) {
	for name := range pages(t) {
		if strings.HasSuffix(name, ".html") && !strings.HasPrefix(name, "src/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return append(names, "src/part1-hello/server.go.html", "src/part3-pipelining/contract_test.go.html")
}

var (
	widths = []int64{390, 820, 1280}
	themes = []string{"light", "dark"}
)

func TestNoPageIsWiderThanTheWindow(t *testing.T) {
	t.Parallel()
	b := openTab(t, serveBook(t))
	for _, page := range looked(t) {
		b.open(page)
		b.run(`document.querySelectorAll('details').forEach(d => d.open = true)`)
		for _, width := range widths {
			for _, theme := range themes {
				b.show(width, theme)

				wide := get[[]string](b, `(() => {
					const limit = document.documentElement.clientWidth
					if (document.documentElement.scrollWidth <= limit) return []
					return [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > limit + 1).slice(0, 5).map(e => e.outerHTML.slice(0, 120))
				})()`)
				assert.Empty(t, wide, "%s at %d px, %s", page, width, theme)
				b.keep(fmt.Sprintf("%s-%d-%s.png", strings.ReplaceAll(page, "/", "_"), width, theme))
			}
		}
		b.quiet(page)
	}
}

// keep takes a picture of the page when BOOK_PICTURES says where to.
func (b *tab) keep(name string) {
	if dir := os.Getenv("BOOK_PICTURES"); dir != "" {
		png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		require.NoError(b.t, err)
		require.NoError(b.t, os.WriteFile(filepath.Join(dir, name), png, 0o644))
	}
}

// TestPagesAreAccessible asks axe-core, which needs a minute for a chapter's two
// thousand coloured lines. It sees the first few blocks of each kind; all of them when
// BOOK_WHOLE is set.
func TestPagesAreAccessible(t *testing.T) {
	t.Parallel()
	b := openTab(t, serveBook(t))
	for _, page := range looked(t) {
		b.open(page)
		b.run(`document.querySelectorAll('details').forEach(d => d.open = true)`)
		if os.Getenv("BOOK_WHOLE") == "" {
			b.run(`
				const count = {}
				const few = (nodes, most) => [...nodes].forEach(n => { const kind = n.nodeName + n.className; if ((count[kind] = (count[kind] ?? 0) + 1) > most) n.remove() })
				few(document.querySelectorAll('main > *, .answers > *'), 6)
				few(document.querySelectorAll('tr, li'), 20)
				document.querySelectorAll('.whole code').forEach(e => few(e.childNodes, 10))`)
		}
		get[int](b, axe+`;0`)
		for _, theme := range themes {
			b.show(1280, theme)

			only := map[string]string{"light": "undefined", "dark": "['color-contrast']"}[theme] // the rest is the same in the dark
			found := get[[]string](b, `axe.run(document, {resultTypes: ['violations'], runOnly: `+only+`}).then(r => r.violations.map(v =>
				v.id + ': ' + v.help + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? '')).join(' | ')))`)
			assert.Empty(t, found, "%s, %s", page, theme)
		}
	}
}

func TestPrintHasEverything(t *testing.T) {
	t.Parallel()
	b := openTab(t, serveBook(t))
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.show(700, "light")
	for _, page := range []string{"01-hello.html", "07-gateway.html", "rules.html"} {
		b.open(page)
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})

		cut := get[[]string](b, `[...document.querySelectorAll('pre')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 60))`)
		hidden := get[[]string](b, `[...document.querySelectorAll('.answers > :not(summary)')].filter(e => !e.checkVisibility({contentVisibilityAuto: true}) || e.getBoundingClientRect().height === 0).map(e => e.outerHTML.slice(0, 60))`)
		assert.Empty(t, cut, "%s: blocks cut at the edge of the paper", page)
		assert.Empty(t, hidden, "%s: folded away on paper", page)
	}
}
