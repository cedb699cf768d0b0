package lab

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Tests of pages run side by side, after those that look at this process's children.

// panel is the expression of an experiment's part of the page.
func panel(name string) string { return "document.getElementById('lab-" + name + "')" }

// begin opens an experiment's tab, moves its sliders as a reader does, and plays.
func (b *tab) begin(name string, settings ...string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS("#lab-tab-" + name)))
	for _, s := range settings {
		field, value, _ := strings.Cut(s, "=")
		get[bool](b, fmt.Sprintf(`(() => { const e = %s.querySelector('[name=%s]'); e.value = %q; e.dispatchEvent(new Event('input', {bubbles: true})); return true })()`, panel(name), field, value))
	}
	b.do(chromedp.Click(chromedp.CSS("#lab-" + name + " [type=submit]")))
}

// shoot keeps a picture if LAB_PICTURES names a directory for it.
func (b *tab) shoot(name string) {
	if dir := os.Getenv("LAB_PICTURES"); dir != "" {
		shot, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
		require.NoError(b.t, err)
		require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o644))
	}
}

func TestEachTabPlays(t *testing.T) {
	t.Parallel()
	top := serveLab(t)
	b := openTab(t, top)
	for _, c := range []struct {
		name     string
		settings []string
		drawn    string // an expression about the figure
	}{
		{"close", []string{"unread=0", "clients=20", "said=20"}, `f.textContent.includes('20 of 20')`},
		{"close", []string{"unread=500", "size=4MiB", "clients=10", "said=3"}, `f.textContent.includes('10 of 10')`},
		{"backlog", []string{"backlog=1", "service=200", "every=50", "said=4"}, `f.querySelectorAll('.lab-lane').length === 8 && f.querySelector('.lab-connecting')`},
		{"backlog", []string{"backlog=0", "clients=12", "timeout=100", "said=5"}, `f.querySelector('.lab-lane .lab-gave-up') && f.querySelectorAll('.lab-lane').length === 12`},
		{"pipeline", []string{"depth=6", "said=300"}, `f.querySelectorAll('.lab-lane .lab-sent').length === 6 && f.querySelector('.lab-lane .lab-finished')`},
		{"pipeline", []string{"depth=3", "driver=serial", "a=100", "said=300"}, `f.querySelectorAll('.lab-lane .lab-sent').length === 3`},
		{"pool", []string{"said=5"}, `f.querySelectorAll('.lab-queue').length === 4`},
		{"pool", []string{"size=3", "callers=20", "pause=100", "idle=300", "said=0"}, `f.querySelectorAll('.lab-queue').length === 4 && f.textContent.includes('20 answered')`},
	} {
		b.open("lab.html")
		b.show(1280, "light")

		b.begin(c.name, c.settings...)
		b.waitFor(panel(c.name) + ".dataset.state === 'ended'")

		sentence := get[string](b, panel(c.name)+".querySelector('.lab-sentence').textContent")
		var result Result
		link := get[string](b, panel(c.name)+".querySelector('.lab-json').href")
		require.NoError(t, json.Unmarshal([]byte(text(t, do(t, "GET", link))), &result), link)
		assert.Equal(t, result.Sentence, sentence)
		assert.True(t, strings.HasPrefix(sentence, "You said "+strings.TrimPrefix(c.settings[len(c.settings)-1], "said=")+"; "), sentence)
		assert.Equal(t, c.name, result.Experiment)
		for _, s := range c.settings[:len(c.settings)-1] {
			name, value, _ := strings.Cut(s, "=")
			assert.Equal(t, value, result.Settings[name])
			assert.Contains(t, get[string](b, panel(c.name)+".querySelector('.lab-commands').textContent"), s)
		}
		assert.True(t, get[bool](b, `(f => Boolean(`+c.drawn+`))(`+panel(c.name)+`.querySelector('.lab-figure'))`), "%s: %s", c.name, c.drawn)
		assert.Equal(t, len(result.Events), get[int](b, panel(c.name)+".querySelectorAll('.lab-events li').length"))
		b.shoot(fmt.Sprintf("%s-%d", c.name, result.ID))
		b.quiet()
	}
}

func TestStopEndsTheRun(t *testing.T) {
	b := openTab(t, serveLab(t))
	b.open("lab.html")
	b.begin("backlog", "backlog=0", "service=1000", "clients=100", "said=1")
	b.waitFor(panel("backlog") + ".querySelectorAll('.lab-lane').length > 2")

	b.do(chromedp.Click(chromedp.CSS("#lab-backlog .lab-stop")))

	b.waitFor(panel("backlog") + ".dataset.state === 'ended'")
	assert.Equal(t, "You stopped it, and nothing of it is left.", get[string](b, panel("backlog")+".querySelector('.lab-sentence').textContent"))
	require.EventuallyWithT(t, func(c *assert.CollectT) { assert.Empty(c, children(t)) }, patience, tick)
	b.begin("backlog", "backlog=0", "service=0", "clients=2", "said=2")
	b.waitFor(panel("backlog") + ".querySelector('.lab-sentence').textContent.startsWith('You said 2;')")
	b.quiet()
}

func TestPageThatGoesAwayEndsTheRun(t *testing.T) {
	b := openTab(t, serveLab(t))
	b.open("lab.html")
	b.begin("backlog", "backlog=0", "service=1000", "clients=100", "said=1")
	b.waitFor(panel("backlog") + ".querySelectorAll('.lab-lane').length > 2")

	b.do(chromedp.Navigate("about:blank"))

	require.EventuallyWithT(t, func(c *assert.CollectT) { assert.Empty(c, children(t)) }, MaxTime/2, tick, "long before the time of the run is over")
}

func TestTwoPagesAtOnce(t *testing.T) {
	t.Parallel()
	top := serveLab(t)
	one, two := openTab(t, top), openTab(t, top)
	one.open("lab.html")
	two.open("lab.html")
	one.begin("pipeline", "driver=serial", "depth=32", "a=200", "said=9")
	one.waitFor(panel("pipeline") + ".querySelectorAll('.lab-lane').length === 32")

	two.begin("close", "clients=1", "said=1")
	two.waitFor(panel("close") + ".dataset.state === 'ended'")

	assert.Contains(t, get[string](two, panel("close")+".querySelector('.lab-sentence').textContent"), "another run is in progress")
	one.do(chromedp.Click(chromedp.CSS("#lab-pipeline .lab-stop")))
	one.waitFor(panel("pipeline") + ".dataset.state === 'ended'")
	one.quiet()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, 200, do(t, "POST", top+"lab/run?experiment=close&clients=1&unread=0", "Lab: play").StatusCode)
	}, patience, tick)
}

func TestForeignPageCannotStartARun(t *testing.T) {
	t.Parallel()
	top := serveLab(t)
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form method="post" action="%slab/run?experiment=close"><button>win a prize</button></form>`, top)
	}))
	defer foreign.Close()
	b := openTab(t, foreign.URL)
	b.open("/")
	run := "'" + top + "lab/run?experiment=close&clients=1'"

	for _, options := range []string{`{method: 'POST', headers: {Lab: 'play'}}`, `{method: 'POST'}`, `{method: 'POST', mode: 'no-cors'}`, `{mode: 'no-cors'}`} {
		get[string](b, `fetch(`+run+`, `+options+`).then(r => r.type, e => String(e))`)
	}
	b.do(chromedp.Click(chromedp.CSS("button")))
	b.waitFor(`document.body.innerText.includes("only the lab's own page may start an experiment")`)

	assert.Equal(t, 404, do(t, "GET", top+"lab/result?id=1").StatusCode, "no run was started")
}

func TestPageFitsAndIsAccessible(t *testing.T) {
	t.Parallel()
	axe, err := os.ReadFile("../read/testdata/axe.min.js")
	if err != nil {
		t.Log("axe-core, which the book's tests bring, is not there: accessibility is not checked")
	}
	b := openTab(t, serveLab(t))
	for _, theme := range []string{"light", "dark"} {
		b.open("lab.html")
		b.show(1280, theme)
		b.begin("backlog", "service=50", "clients=6", "said=3")
		b.waitFor(panel("backlog") + ".dataset.state === 'ended'")
		for _, e := range experiments {
			b.do(chromedp.Click(chromedp.CSS("#lab-tab-" + e.Name)))
			for _, width := range []int64{390, 820, 1280} {
				b.show(width, theme)
				assert.LessOrEqual(t, get[int](b, "document.documentElement.scrollWidth"), int(width), "%s is wider than the window of %d", e.Name, width)
				b.shoot(fmt.Sprintf("%s-%s-%d", e.Name, theme, width))
			}
			if axe == nil {
				continue
			}
			get[int](b, string(axe)+`;0`)
			found := get[[]string](b, `axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v =>
				v.id + ': ' + v.help + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? '')).join(' | ')))`)
			assert.Empty(t, found, "%s, %s", e.Name, theme)
		}
		b.quiet()
	}
}

func TestTabsMoveWithArrows(t *testing.T) {
	t.Parallel()
	b := openTab(t, serveLab(t))
	b.open("lab.html")
	b.do(chromedp.Click(chromedp.CSS("#lab-tab-pool")))

	get[bool](b, `document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}))`)

	assert.Equal(t, "lab-tab-close", get[string](b, "document.activeElement.id"))
	assert.False(t, get[bool](b, panel("close")+".hidden"))
	assert.True(t, get[bool](b, panel("pool")+".hidden"))
}

func TestPageWithoutScriptsShowsTheCommands(t *testing.T) {
	t.Parallel()
	b := openTab(t, serveLab(t))
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})

	b.open("lab.html")

	seen := get[string](b, "document.body.innerText")
	for _, e := range experiments {
		assert.Contains(t, seen, "go -C notes run ./lab/serve play "+e.Name)
	}
	assert.NotContains(t, seen, "Play on my kernel")
}
