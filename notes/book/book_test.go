package book

import (
	"html"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/yuin/goldmark/ast"
)

// small writes a repository of one part and one chapter, and returns its book.
func small(t *testing.T, chapter string) *Book {
	root := t.TempDir()
	for name, text := range map[string]string{
		"README.md":                   "# The course\n\nA pitch.\n\n| chapter |\n|---|\n| [1](notes/01-hello.md) |\n",
		"part1-hello/server.go":       "package main\n\n// serve serves.\nfunc serve() {}\n\nfunc (s *server) stop() {}\n",
		"part1-hello/server_test.go":  "package main\n\nfunc TestServes(t *testing.T) {}\n",
		"part2-backlog/dial.go":       "package main\n",
		"part2-backlog/a/conn.go":     "package a\n",
		"part2-backlog/b/conn.go":     "package b\n",
		"part2-backlog/dial_test.go":  "package main\n\nfunc TestServes(t *testing.T) {}\n",
		"notes/01-hello.md":           chapter,
		"notes/02-backlog.md":         "# 2 · The backlog\n\n## The queue\n",
		"notes/README.md":             "# The notes\n",
		"notes/contract.md":           "# The contract\n",
		"notes/rules.md":              "# The rules\n\n## Part 2\n\n| RFC | test |\n|---|---|\n| 9112 §2.2, §6.3; 9110 §5 | `TestServes` |\n",
		"notes/files.md":              "# The files\n",
		"notes/glossary.md":           "# Glossary\n\n**accept queue.** Where connections wait. `listen(2)`.\n\n**RST, reset.** The end.\n\n**line.** Here: callers in order, as at an *accept queue*.\n",
		"notes/steps/part1.md":        "# Steps\n\n## 1.1 Listen\n\n- tests: TestServes\n- read: 02-backlog.md, The queue\n",
		"notes/figures/one.svg":       `<svg xmlns="http://www.w3.org/2000/svg" width="86" height="54" viewBox="0 0 86 54"></svg>`,
		"part1-hello/bugs/slow.patch": "",
	} {
		file := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	b, err := Load(root)
	require.NoError(t, err)
	return b
}

// bodyOf returns the HTML of a page of small's book.
func bodyOf(t *testing.T, b *Book, file string) string {
	text, err := b.body(b.byPath[file], false)
	require.NoError(t, err)
	return text
}

func TestWhatAPageNamesIsLinked(t *testing.T) {
	for _, c := range []struct{ words, html string }{
		{"[two](02-backlog.md#the-queue)", `<a href="02-backlog.html#the-queue">two</a>`},
		{"[all](README.md) [top](../README.md)", `<a href="notes.html">all</a> <a href="index.html">top</a>`},
		{"[code](../part1-hello/server.go)", `<a href="src/part1-hello/server.go.html">code</a>`},
		{"[bugs](../part1-hello/bugs)", `<p>bugs</p>`},
		{"[a part](../part2-backlog)", `<a href="files.html#part-2">a part</a>`},
		{"[rfc](https://example.org/x.md)", `<a href="https://example.org/x.md">rfc</a>`},
		{"in `server.go`", `<a href="src/part1-hello/server.go.html"><code>server.go</code></a>`},
		{"in `part2-backlog/dial.go`", `<a href="src/part2-backlog/dial.go.html"><code>`},
		{"in `dial.go` of another part", `<code>dial.go</code>`},
		{"`TestServes/a_case` says so", `<a href="src/part1-hello/server_test.go.html#TestServes"><code>TestServes/a_case</code></a>`},
		{"`TestNothing`", `<p><code>TestNothing</code></p>`},
		{"RFC 9112 §6.1 and §6.3", `<a href="https://www.rfc-editor.org/rfc/rfc9112#section-6.1">RFC 9112 §6.1</a> and <a href="https://www.rfc-editor.org/rfc/rfc9112#section-6.3">§6.3</a>`},
		{"RFC 6298.", `<a href="https://www.rfc-editor.org/rfc/rfc6298">RFC 6298</a>.`},
		{"§4 of no RFC", `<p>§4 of no RFC</p>`},
		{"Accept queues, and an accept queue", `<a href="glossary.html#term-accept-queue" title="Where connections wait." class="term">Accept queues</a>, and an accept queue`},
		{"a line, and a *line*", `a line, and a <a href="glossary.html#term-line" title="Here: callers in order, as at an accept queue." class="term"><em>line</em></a>`},
		{"*20 minutes.*", `<p class="note"><em>20 minutes.</em></p>`},
		{"*A* word", `<p><em>A</em> word</p>`},
		{"RSTs", `class="term">RSTs</a>`},
	} {
		b := small(t, "# 1 · Hello\n\n<!-- subject part1-hello/server.go -->\n\n"+c.words+"\n")

		assert.Contains(t, bodyOf(t, b, "notes/01-hello.md"), c.html, c.words)
	}
}

func TestTablesAndStepsAreLinkedInTheirPart(t *testing.T) {
	b := small(t, "# 1 · Hello\n")

	rules, steps := bodyOf(t, b, "notes/rules.md"), bodyOf(t, b, "notes/steps/part1.md")

	assert.Contains(t, rules, `rfc9112#section-2.2">9112 §2.2</a>`)
	assert.Contains(t, rules, `rfc9112#section-6.3">§6.3</a>`)
	assert.Contains(t, rules, `rfc9110#section-5">9110 §5</a>`)
	assert.Contains(t, rules, `src/part2-backlog/dial_test.go.html#TestServes`)
	assert.Contains(t, bodyOf(t, b, "notes/glossary.md"), `<p id="term-line"><strong>line.</strong> Here: callers in order, as at an <a href="glossary.html#term-accept-queue"`)
	assert.Contains(t, steps, `<a href="src/part1-hello/server_test.go.html#TestServes">TestServes</a>`)
	assert.Contains(t, steps, `<a href="02-backlog.html#the-queue">02-backlog.md, The queue</a>`)
}

func TestQuotedCodeLeadsToItsDeclaration(t *testing.T) {
	b := small(t, "# 1 · Hello\n\n`part1-hello/server.go`, `serve`, `server.stop`\n\n```go\nfunc serve() {}\n```\n")

	text := bodyOf(t, b, "notes/01-hello.md")
	files, err := b.Site(Options{})

	require.NoError(t, err)
	assert.Contains(t, text, `<p class="from"><a href="src/part1-hello/server.go.html#serve"><code>part1-hello/server.go</code></a></p>`)
	assert.Contains(t, string(files["src/part1-hello/server.go.html"]), `<span id="server.stop"><b>func</b> (s *server) <dfn>stop</dfn>() {}`)
	assert.Contains(t, string(files["src/part1-hello/server.go.html"]), `href="../../01-hello.html"`)
	assert.NotContains(t, files, "src/part2-backlog/dial.go.html", "a file that no page links to")
}

func TestAnswersToPredictionsAreFolded(t *testing.T) {
	b := small(t, "# 1 · Hello\n\n## Three predictions\n\n1. How many?\n\n```console\n$ go run ./part1-hello demo\nsix\n```\n\n1. Six.\n\n## Step 1.1 · Listen\n\nText.\n")

	web := bodyOf(t, b, "notes/01-hello.md")
	paper, err := b.body(b.byPath["notes/01-hello.md"], true)

	require.NoError(t, err)
	assert.Regexp(t, `(?s)How many\?.*<details class="answers"><summary>.*<code>go run ./part1-hello demo</code>.*</summary>\n<pre.*Six\..*</details>\n<h2 id="step-11--listen" data-step="1.1">`, web)
	assert.NotContains(t, paper, "<details")
	assert.NotContains(t, paper, `class="self"`)
}

func TestCoverSaysHowLongAChapterTakes(t *testing.T) {
	b := small(t, "# 1 · Hello\n\n*An hour to read.*\n")

	cover := bodyOf(t, b, "README.md")

	assert.Contains(t, cover, `<a href="01-hello.html">1</a><br/><small>An hour to read.</small>`)
	assert.Contains(t, cover, `<a class="begin" href="01-hello.html">`)
}

func TestFiguresHaveTheirSize(t *testing.T) {
	b := small(t, "# 1 · Hello\n\n![A \"picture\"](figures/one.svg)\n")

	assert.Contains(t, bodyOf(t, b, "notes/01-hello.md"), `<figure><img src="figures/one.svg" alt="A &#34;picture&#34;" width="86" height="54"/></figure>`)
}

func TestConsolesAndDiffsAreMarked(t *testing.T) {
	assert.Equal(t, `<i class="p">$ </i><b>ls \`+"\n  -l</b>\na &lt; b\n", console("$ ls \\\n  -l\na < b\n"))
	assert.Equal(t, "<ins>+a</ins>\n<del>-b</del>\n<i>@@ 1 @@</i>\n c\n", differences("+a\n-b\n@@ 1 @@\n c\n"))
	assert.Equal(t, "<i>// one\n// two</i>\n<b>func</b> <dfn>f</dfn>() { g(<u>\"x\"</u>, <var>1</var>) }\n",
		highlight("go", "// one\n// two\nfunc f() { g(\"x\", 1) }\n"))
	assert.Equal(t, "a &lt; b\n", highlight("", "a < b\n"))
	assert.Equal(t, "<b>func</b> (s *T) <dfn>m</dfn>(x <b>map</b>[int]int) (T, error) {\n\tg(x)\n\tg(nil) <i>/* a */</i>\n\tg(<u>`a\n`</u>, <u>'b'</u>); f(<var>0x1p-2</var>)",
		highlight("go", "func (s *T) m(x map[int]int) (T, error) {\n\tg(x)\n\tg(nil) /* a */\n\tg(`a\n`, 'b'); f(0x1p-2)"))
	assert.Equal(t, "&lt;x&gt;\n", highlight("text", "<x>\n"))
	assert.Empty(t, highlight("go", ""))
}

// theSite is the real book.
var theSite = sync.OnceValues(func() (map[string][]byte, error) {
	b, err := Load("../..")
	if err != nil {
		return nil, err
	}
	return b.Site(Options{More: []Extra{{Name: "lab.html", Title: "Lab", Body: "<h1>Lab</h1>"}}})
})

const largest = 150 << 10 // bytes of a page: one second on a slow line

func TestPagesAreSmallAndComplete(t *testing.T) {
	files, err := theSite()
	require.NoError(t, err)

	for _, name := range []string{"index.html", "01-hello.html", "08-engine.html", "glossary.html", "lab.html", "steps-part4-client.html", epubName} {
		assert.Contains(t, files, name)
	}
	assert.Equal(t, 1, strings.Count(string(files["index.html"]), `class="begin"`), "the way to chapter 1, on the cover")
	assert.Contains(t, string(files["01-hello.html"]), `<li><a href="lab.html">Lab</a></li>`)
	for name, text := range files {
		if strings.HasSuffix(name, ".html") && !strings.HasPrefix(name, "src/") {
			assert.Less(t, len(text), largest, name)
		}
	}
}

var tag = regexp.MustCompile(`<[^>]*>`)

// The pages of source files have the files' text, colours or not.
func TestSourcePagesAreTheFiles(t *testing.T) {
	files, err := theSite()
	require.NoError(t, err)
	for name, text := range files {
		file, ok := strings.CutPrefix(strings.TrimSuffix(name, ".html"), "src/")
		if !ok {
			continue
		}
		src, err := os.ReadFile(filepath.Join("../..", file))
		require.NoError(t, err)

		_, code, _ := strings.Cut(string(text), `class="whole"><code>`)
		code, _, _ = strings.Cut(code, "</code></pre>")

		require.True(t, html.UnescapeString(tag.ReplaceAllString(code, "")) == string(src), file)
	}
}

var (
	reference = regexp.MustCompile(`\b(?:href|src)="([^"]*)"`)
	identity  = regexp.MustCompile(`\bid="([^"]*)"`)
)

// Every link between the files leads to a file, and to an element that is in it; no
// page loads anything from elsewhere.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	files, err := theSite()
	require.NoError(t, err)
	ids := map[string]bool{}
	for name, text := range files {
		for _, id := range identity.FindAllSubmatch(text, -1) {
			assert.False(t, ids[name+"#"+string(id[1])], "%s has %q twice", name, id[1])
			ids[name+"#"+string(id[1])] = true
		}
	}
	for name, text := range files {
		if !strings.HasSuffix(name, ".html") {
			continue
		}
		for _, m := range reference.FindAllSubmatch(text, -1) {
			to := string(m[1])
			if strings.HasPrefix(to, "data:") || strings.Contains(to, "://") {
				assert.NotContains(t, string(m[0]), `src="http`, name)
				continue
			}
			file, id, hasID := strings.Cut(to, "#")
			if file = filepath.Join(filepath.Dir(name), file); to[0] == '#' {
				file = name
			}
			_, exists := files[file]
			assert.True(t, exists, "%s links to %s", name, to)
			assert.True(t, !hasID || ids[file+"#"+id], "%s links to %s", name, to)
		}
	}
}

func TestColumnsOfNumbersAreAlignedInEveryFormat(t *testing.T) {
	b := small(t, "# 1 · Hello\n\n| name | lines |\n|---|---:|\n| a | 1 |\n")

	text := bodyOf(t, b, "notes/01-hello.md")

	assert.Contains(t, text, `<td style="text-align:right">1</td>`)
	assert.NotContains(t, text, "align=")
}

// A link to another page of Markdown is one within the book: the book has that page.
func TestEveryPageThatAPageLinksToIsInTheBook(t *testing.T) {
	b, err := Load("../..")
	require.NoError(t, err)
	followed := 0
	for _, page := range b.pages {
		err := ast.Walk(Parse(page.src), func(node ast.Node, entering bool) (ast.WalkStatus, error) {
			link, ok := node.(*ast.Link)
			if !ok || !entering {
				return ast.WalkContinue, nil
			}
			to, err := url.Parse(string(link.Destination))
			require.NoError(t, err)
			if file := path.Join(path.Dir(page.path), to.Path); !to.IsAbs() && path.Ext(to.Path) == ".md" {
				followed++
				assert.NotNil(t, b.byPath[file], "%s links to %s, which has no page in the book", page.path, file)
			}
			return ast.WalkContinue, nil
		})
		require.NoError(t, err)
	}
	assert.Greater(t, followed, 50)
}
