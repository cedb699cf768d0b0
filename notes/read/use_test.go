package main

import (
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// eachWay runs a test on the book as served, and on the folder without a server.
func eachWay(t *testing.T, test func(t *testing.T, b *tab)) {
	t.Run("served", func(t *testing.T) { test(t, openTab(t, serveBook(t))) })
	t.Run("from a folder", func(t *testing.T) { test(t, openTab(t, writeBook(t))) })
}

func TestSearchFinds(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, b *tab) {
		for _, page := range []string{"index.html", "src/part1-hello/server.go.html"} {
			b.open(page)
			b.do(chromedp.KeyEvent("/"), chromedp.KeyEvent("lingering close"))
			b.waitFor(`document.querySelector('header li a')?.textContent.includes('lingering close')`)

			b.do(chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.Enter))
			b.waitFor(`document.querySelector('#term-lingering-close:target')`)
			assert.Contains(t, get[string](b, `document.querySelector(':target').textContent`), "To send FIN, to read until the other side has closed")
		}
		b.quiet("search")
	})
}

func TestSearchFindsSections(t *testing.T) {
	t.Parallel()
	b := openTab(t, serveBook(t))
	b.open("index.html")
	b.do(chromedp.Focus(chromedp.CSS("header input")), chromedp.KeyEvent("phantom connections"))
	b.waitFor(`[...document.querySelectorAll('header li a')].some(a => a.hash === '#phantom-connections')`)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.waitFor(`document.querySelectorAll('header li').length === 0`)
}

func TestArrowKeysTurnPages(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, b *tab) {
		b.open("01-hello.html")
		b.do(chromedp.KeyEvent(kb.ArrowRight))
		b.waitFor(`location.pathname.endsWith('/02-backlog.html')`)
		b.waitFor(`document.readyState === 'complete'`)
		b.do(chromedp.KeyEvent(kb.ArrowLeft))
		b.waitFor(`location.pathname.endsWith('/01-hello.html')`)
		b.quiet("keys")
	})
}

// A block that scrolls sideways keeps the keys that scroll it, and so does a field.
func TestArrowKeysScrollAWideBlock(t *testing.T) {
	t.Parallel()
	b := openTab(t, serveBook(t))
	b.show(390, "light")
	b.open("03-requests.html")
	b.run(`window.wide = [...document.querySelectorAll('main > pre')].find(e => e.scrollWidth > e.clientWidth + 100); wide.focus()`)
	b.do(chromedp.KeyEvent(kb.ArrowRight))
	b.waitFor(`wide.scrollLeft > 0`)

	b.do(chromedp.Focus(chromedp.CSS("header input")), chromedp.KeyEvent(kb.ArrowRight))
	assert.Equal(t, "/03-requests.html", get[string](b, `location.pathname`))
}

func TestCopyTakesTheCommandsOfAConsole(t *testing.T) {
	t.Parallel()
	b := openTab(t, serveBook(t))
	for _, name := range []string{"clipboard-read", "clipboard-write"} {
		_, err := chromedp.CallBrowser(b.ctx, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: name}, Setting: browser.PermissionSettingGranted})
		require.NoError(t, err)
	}
	b.open("04-in-order.html")
	for _, block := range []struct{ kind, begins, not string }{
		{"console", "go run ./part3-pipelining demo\n", "ms"},
		{"go", "", "copy"},
	} {
		b.run(`document.querySelectorAll('details').forEach(d => d.open = true)`)
		b.run(`const b = document.querySelector('main pre.` + block.kind + ` .copy'); b.scrollIntoView({block: 'center'}); b.focus()`)
		b.do(chromedp.Click(chromedp.CSS("main pre." + block.kind + " .copy")))
		b.waitFor(`document.querySelector('main pre.` + block.kind + ` .copy').textContent === 'copied'`)

		copied := get[string](b, `navigator.clipboard.readText()`)
		shown := get[string](b, `document.querySelector('main pre.`+block.kind+` code').textContent`)
		if block.begins == "" {
			block.begins = shown
		}
		assert.Equal(t, block.begins, copied)
		assert.NotContains(t, copied, block.not)
	}
}

func TestBuiltStepsAreRemembered(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, b *tab) {
		b.open("01-hello.html")
		b.do(chromedp.Click(chromedp.CSS(".built input")))
		b.waitFor(`document.querySelector('#the-contents a[data-step="1.1"]').classList.contains('done')`)

		b.do(chromedp.Reload())
		b.waitFor(`document.querySelector('.built input')?.checked`)
		b.open("index.html")
		b.waitFor(`document.querySelector('#the-contents .count')?.textContent === ' 1 of 6'`)

		b.open("01-hello.html")
		b.do(chromedp.Click(chromedp.CSS(".built input")), chromedp.Reload())
		b.waitFor(`document.querySelector('.built input')?.checked === false`)
		b.quiet("steps")
	})
}

func TestAnswersOpenForALinkIntoThem(t *testing.T) {
	t.Parallel()
	b := openTab(t, serveBook(t))
	b.open("01-hello.html")
	b.run(`document.querySelector('.answers figure').id = 'inside'; location.hash = '#inside'`)
	b.waitFor(`document.querySelector('.answers').open`)
}

func TestLabPageOfTheBookPlays(t *testing.T) {
	t.Parallel()
	b := openTab(t, serveBook(t))
	b.open("lab.html")
	b.run(`document.querySelector('#lab-close [name=clients]').value = 5; document.querySelector('#lab-close [name=said]').value = 5`)
	b.do(chromedp.Click(chromedp.CSS("#lab-tab-close")), chromedp.Click(chromedp.CSS("#lab-close [type=submit]")))

	b.waitFor(`document.querySelector('#lab-close').dataset.state === 'ended'`)

	assert.Regexp(t, `^You said 5; \d+ responses? w`, get[string](b, `document.querySelector('#lab-close .lab-sentence').textContent`))
	b.quiet("the lab")
}

// Without JavaScript everything can be read and reached; what needs it is not in sight.
func TestPagesNeedNoScript(t *testing.T) {
	t.Parallel()
	b := openTab(t, serveBook(t))
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.show(390, "light")
	b.open("01-hello.html")

	assert.False(t, get[bool](b, `document.querySelector('header form').checkVisibility()`), "a search that cannot search")
	assert.False(t, get[bool](b, `document.querySelector('.answers').open`), "answers in sight")
	assert.False(t, get[bool](b, `document.querySelector('#the-contents').checkVisibility()`), "the contents cover a phone's page")

	b.do(chromedp.Click(chromedp.CSS(".answers summary")))
	b.waitFor(`document.querySelector('.answers').open`)
	b.do(chromedp.Click(chromedp.CSS("header .open")))
	b.waitFor(`document.querySelector('#the-contents').checkVisibility()`)
	b.do(chromedp.Click(chromedp.CSS(`#the-contents a[href="02-backlog.html"]`)))
	b.waitFor(`location.pathname === '/02-backlog.html' && !document.querySelector('#the-contents').checkVisibility()`)
}
