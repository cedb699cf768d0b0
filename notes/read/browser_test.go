package main

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
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

	"socketup/notes/lab"
	"socketup/part3-pipelining/server"
	"socketup/part3-pipelining/socket"
)

// patience bounds a test of the pages; a slow machine needs a part of it.
const patience = 3 * time.Minute

// theBook is made once for all tests.
var theBook = sync.OnceValues(func() (map[string][]byte, error) { return site("../..", true) })

func pages(t *testing.T) map[string][]byte {
	files, err := theBook()
	require.NoError(t, err)
	return files
}

// theServer serves the book to all tests, as the program does. It ends with them.
var theServer = sync.OnceValues(func() (string, error) {
	files, err := theBook()
	if err != nil {
		return "", err
	}
	fd, err := socket.Listen("127.0.0.1:0", 128)
	if err != nil {
		return "", err
	}
	s, err := server.New(fd, theLab.Handler(handler(files)), server.DefaultLimits, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	go s.Serve()
	return "http://" + socket.LocalAddr(fd).String() + "/", nil
})

// theLab is the one that the book has. TestMain closes it.
var theLab = lab.New("../..")

// serveBook returns the address of the served book: http://HOST/.
func serveBook(t *testing.T) string {
	at, err := theServer()
	require.NoError(t, err)
	return at
}

// A tab is a browser with one page, and what went wrong in it.
type tab struct {
	t   *testing.T
	ctx context.Context
	top string // what the pages' addresses begin with

	mu     sync.Mutex
	wrongs []string // errors on the console, and requests for what is not the book's
}

// browsers are the names by which machines know Chromium.
var browsers = []string{"chromium", "chromium-browser", "google-chrome", "chrome", "headless-shell"}

// theBrowser is started by the first test that needs it, and shared; each test has a
// tab of its own.
var theBrowser = sync.OnceValues(func() (context.Context, error) {
	for _, name := range browsers {
		program, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		ctx, _ := chromedp.NewExecAllocator(untilTheEnd, append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(time.Minute))...)
		ctx, _ = chromedp.NewContext(ctx)
		return ctx, chromedp.Do(ctx)
	}
	return nil, exec.ErrNotFound
})

var untilTheEnd, end = context.WithCancel(context.Background())

// TestMain ends the browser.
func TestMain(m *testing.M) {
	code := m.Run()
	theLab.Close()
	if ctx, err := theBrowser(); err == nil {
		_ = chromedp.Cancel(ctx) // waits until it is gone
	}
	end()
	os.Exit(code)
}

// openTab opens a tab, or skips the test. top is the book's address.
func openTab(t *testing.T, top string) *tab {
	browser, err := theBrowser()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("needs Chromium, which is not installed")
	}
	require.NoError(t, err)
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, patience)
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
		wrong = event.ExceptionDetails.Text + " " + event.ExceptionDetails.Exception.Description
	case *runtime.EventConsoleAPICalled:
		if event.Type == runtime.ConsoleAPICalledTypeError || event.Type == runtime.ConsoleAPICalledTypeWarning {
			wrong = "console." + string(event.Type)
		}
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

// quiet fails the test when the page has done what it must not.
func (b *tab) quiet(where string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(b.t, b.wrongs, "%s: errors on the console, and requests that leave the book", where)
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, actions...))
}

// call runs a command of the protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, command, params)
	require.NoError(b.t, err)
}

// open navigates to a page of the book.
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

// run evaluates statements.
func (b *tab) run(statements string) {
	b.t.Helper()
	get[bool](b, "(() => { "+statements+"; return true })()")
}

// waitFor waits until an expression is true, also beyond a navigation.
func (b *tab) waitFor(expression string) {
	b.t.Helper()
	require.EventuallyWithT(b.t, func(c *assert.CollectT) {
		is, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		assert.NoError(c, err)
		assert.True(c, is, expression)
	}, 30*time.Second, 20*time.Millisecond)
}

// writeBook writes the book into a directory, and returns its address: file://DIR/.
func writeBook(t *testing.T) string {
	dir := t.TempDir()
	require.NoError(t, write(dir, pages(t), t.Output()))
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(dir) + "/"}).String()
}
