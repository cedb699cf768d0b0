package lab

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A tab is a browser with one page, and what went wrong in it.
type tab struct {
	t   *testing.T
	ctx context.Context
	top string // what the pages' addresses begin with

	mu     sync.Mutex // guards wrongs
	wrongs []string   // errors on the console, and requests for what is not the lab's
}

// theBrowser is started by the first test that needs it, and shared; each test has a tab
// of its own.
var theBrowser = sync.OnceValues(func() (context.Context, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome", "headless-shell"} {
		program, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		ctx, _ := chromedp.NewExecAllocator(untilTheEnd, append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(time.Minute))...)
		ctx, _ = chromedp.NewContext(ctx)
		started = true
		return ctx, chromedp.Do(ctx)
	}
	return nil, exec.ErrNotFound
})

var (
	untilTheEnd, end = context.WithCancel(context.Background())
	started          bool // the browser; TestMain must not start it
)

// TestMain ends the browser.
func TestMain(m *testing.M) {
	code := m.Run()
	if started {
		if ctx, err := theBrowser(); err == nil {
			_ = chromedp.Cancel(ctx) // waits until it is gone
		}
	}
	end()
	os.Exit(code)
}

// openTab opens a tab, or skips the test.
func openTab(t *testing.T, top string) *tab {
	browser, err := theBrowser()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("needs Chromium, which is not installed")
	}
	require.NoError(t, err)
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*patience)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, top: top}
	b.do() // opens it
	require.NoError(t, chromedp.Listen(ctx, b.watch))
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	call(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}) // several tabs are at work
	return b
}

// watch notes what a page must not do.
func (b *tab) watch(event any) {
	wrong := ""
	switch event := event.(type) {
	case *log.EventEntryAdded:
		if event.Entry.Level == log.EntryLevelError {
			wrong = event.Entry.Text + " " + event.Entry.URL
		}
	case *runtime.EventExceptionThrown:
		wrong = event.ExceptionDetails.Text
	case *network.EventRequestWillBeSent:
		if at := event.Request.URL; !strings.HasPrefix(at, b.top) && !strings.HasPrefix(at, "data:") && !strings.HasPrefix(at, "about:") {
			wrong = "a request for " + at
		}
	}
	if wrong != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.wrongs = append(b.wrongs, wrong)
	}
}

// quiet fails the test if the page has done what it must not.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(b.t, b.wrongs, "errors on the console, and requests that leave the lab")
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, actions...))
}

// call runs a command of the protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	r, err := chromedp.Call(b.ctx, command, params)
	require.NoError(b.t, err)
	return r
}

func (b *tab) open(page string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.top + page))
}

// show sets how wide the window is, and whether the reader prefers the dark.
func (b *tab) show(width int64, theme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 900))
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}})
}

// get evaluates an expression in the page, and waits if it is a promise.
func get[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(b.t, err)
	return value
}

// waitFor waits until an expression is true.
func (b *tab) waitFor(expression string) {
	b.t.Helper()
	require.EventuallyWithT(b.t, func(c *assert.CollectT) {
		is, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		assert.NoError(c, err)
		assert.True(c, is, expression)
	}, patience, 20*time.Millisecond)
}
