package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEveryKindOfRegionIsFound(t *testing.T) {
	for name, text := range map[string]string{
		"add":       "// add adds.\nfunc add(a, b int) int {\n\treturn a + b\n}\n",
		"sum.total": "// total adds them.\nfunc (s *sum) total() int { return add(s.a, s.b) }\n",
		"sum":       "// A sum has parts.\ntype sum struct{ a, b int }\n",
		"high":      "// limits of the sum.\nconst (\n\tlow  = 1 // at least\n\thigh = 9\n)\n",
		"header":    "// This file adds.\npackage main\n",
		"all":       addGo,
	} {
		found, err := find("add.go", []byte(addGo), []string{name})

		require.NoError(t, err)
		assert.Equal(t, text, found[0].text([]byte(addGo)), name)
	}
}

// chapterWith is a chapter with one block, quoted as about says.
func chapterWith(about, lang, code string) map[string]string {
	return map[string]string{"notes/01-hello.md": "# One\n\n" + about + "\n\n```" + lang + "\n" + code + "```\n\nMore.\n"}
}

func TestQuotedCodeIsKept(t *testing.T) {
	r := fixture(t, chapterWith("`part1-hello/add.go`, `header`, `add`", "go", "func add() {}\n"))
	drift(t, r, "code", "notes/01-hello.md:6: not as in part1-hello/add.go, header, add")

	text := mended(t, r, "code", "notes/01-hello.md")

	assert.Contains(t, text, "```go\n// This file adds.\npackage main\n\n// add adds.\nfunc add(a, b int) int {\n\treturn a + b\n}\n```\n\nMore.\n")
}

func TestQuotedDiffHasTheLineNumbersOfTheFiles(t *testing.T) {
	r := fixture(t, chapterWith("`part2-backlog/add.go`, `add`,\n`twice`", "diff", ""))

	text := mended(t, r, "code", "notes/01-hello.md")

	assert.Contains(t, text, "@@ -16,4 +16,5 @@\n // add adds.\n func add(a, b int) int {\n-\treturn a + b\n+\tsum := a + b\n+\treturn sum\n }\n@@ -0,0 +22,2 @@\n+// twice")
}

func TestQuotesThatCannotBeTrue(t *testing.T) {
	for _, c := range []struct{ about, lang, words string }{
		{"`part1-hello/add.go`, `sub`", "go", "part1-hello/add.go has no `sub`; it has: all, header, low, high, sum, sum.total, add"},
		{"`part1-hello/sub.go`, `add`", "go", "there is no file part1-hello/sub.go; part1-hello has: add.go, old.go"},
		{"`../secret.go`, `all`", "go", "leads out of the repository"},
		{"`part2-backlog/add.go`, `sum`", "diff", "carried over unchanged"},
		{"`part1-hello/add.go`, `sum`", "diff", "no part that has one before it"},
		{"See `part1-hello/add.go`.", "go", "whose code is this?"},
	} {
		drift(t, fixture(t, chapterWith(c.about, c.lang, "")), "code", c.words)
	}
	inList := map[string]string{"notes/a.md": "- item\n\n  ```go\n  x\n  ```\n"}
	drift(t, fixture(t, inList), "code", "notes/a.md:3: a block inside a list")
}

func TestSketchesAndOtherLanguagesAreFree(t *testing.T) {
	truth(t, fixture(t, chapterWith("Think of:", "go sketch", "x := 1\n")), "code")
	truth(t, fixture(t, chapterWith("A request:", "http", "GET / HTTP/1.1\n")), "code")
	truth(t, fixture(t, chapterWith("`go.mod`, `all`", "text", "module socketup\n\ngo 1.26\n")), "code")
}

func TestCodeLinesLeaveOutWhatNeedsNoProse(t *testing.T) {
	src := "package main\n\nimport (\n\t\"fmt\"\n)\n\n// a comment\nvar x = []int{ // code\n\t1,\n}\n\n/* more\nof it */\nvar y = `raw\n\nstring`\n\nfunc f() {\n\tfunc() {\n\t}()\n}\n"

	lines, err := codeLines("x.go", []byte(src))

	require.NoError(t, err)
	var code []string
	for i, text := range strings.Split(src, "\n") {
		if lines[i+1] {
			code = append(code, strings.TrimSpace(text))
		}
	}
	assert.Equal(t, []string{"var x = []int{ // code", "1,", "var y = `raw", "string`", "func f() {", "func() {", "}()"}, code)
}

const wholeChapter = "# Two\n\n`part2-backlog/new.go`, `main`\n\n```go\n```\n\n## Left to the reader\n\n- `part2-backlog/add.go`, `add`,\n  `twice`: sums\n"

func TestEveryAddedLineIsShownOrLeftToTheReader(t *testing.T) {
	r := fixture(t, map[string]string{"notes/02-backlog.md": wholeChapter})
	assert.Contains(t, truth(t, r, "coverage"), "prose covers 40 % of the 5 lines part2-backlog adds; 3 are left to the reader")

	write(t, r, map[string]string{"notes/02-backlog.md": strings.Replace(wholeChapter, "`add`,\n  ", "", 1)})
	drift(t, r, "coverage", "part2-backlog/add.go:18: `add` is in no chapter, to line 19")
}

func TestChapterShowsItsSubject(t *testing.T) {
	about := "# Two\n\n<!-- subject part2-backlog/new.go part2-backlog/add.go -->\n" + strings.TrimPrefix(wholeChapter, "# Two\n")
	r := fixture(t, map[string]string{"notes/02-backlog.md": about})
	drift(t, r, "coverage", "40 % of the 5 lines of the subject are shown: 80 % have to be")

	write(t, r, map[string]string{"notes/02-backlog.md": strings.Replace(about, " part2-backlog/add.go", "", 1)})
	assert.Contains(t, truth(t, r, "coverage"), "and 100 % of the 2 lines of its subject")

	write(t, r, map[string]string{"notes/02-backlog.md": strings.Replace(about, " part2-backlog/add.go", "", 1) + strings.Repeat("word ", 3000)})
	drift(t, r, "coverage", "words of prose: 3000 at most")

	write(t, r, map[string]string{"notes/02-backlog.md": strings.Replace(about, "add.go", "none.go", 1)})
	drift(t, r, "coverage", "part2-backlog/none.go is not a file whose code")
}

func TestNamesAreIntroducedBeforeTheirChapterEnds(t *testing.T) {
	files := map[string]string{
		"part2-backlog/use.go": "package main\n\ntype box struct {\n\tsize int\n}\n\nfunc (b *box) grow() { b.size += step }\n\nconst step = 1\n",
		"notes/02-backlog.md":  "# Two\n\n<!-- subject part2-backlog/use.go -->\n\n`part2-backlog/use.go`, `box.grow`\n\n```go\n```\n",
	}
	r := fixture(t, files)
	for _, name := range []string{"box", "size", "step"} {
		drift(t, r, "names", "02-backlog.md:7: the code uses `"+name+"`, which no chapter")
	}

	files["notes/01-hello.md"] = "# One\n\n`part2-backlog/use.go`, `box`\n\n```go\n```\n"
	files["notes/02-backlog.md"] += "\nIt grows by a `step`.\n"
	assert.Contains(t, truth(t, fixture(t, files), "names"), "02-backlog.md: 0 names")
}

func TestTestsThatAPageNamesExist(t *testing.T) {
	files := map[string]string{"notes/a.md": "# A\n\n`TestOne` and `TestTwo`.\n", "part1-hello/one_test.go": "package main\n\nfunc TestOne(t *testing.T) {}\n"}
	drift(t, fixture(t, files), "names", "notes/a.md:3: there is no test TestTwo")
}

func TestStiltedWordsAreFoundInProseOnly(t *testing.T) {
	drift(t, fixture(t, map[string]string{"notes/a.md": "# A\n\nWhoever waits.\n"}), "english", "notes/a.md:3: \"Whoever\"")
	truth(t, fixture(t, map[string]string{"notes/a.md": "# A\n\n`nobody` is a user, and \"in vain\" a quotation.\n\n```text\nsomebody\n```\n"}), "english")
}

func TestTheReadersListMustBeTrue(t *testing.T) {
	for item, words := range map[string]string{
		"`part2-backlog/new.go`: shown":           "nothing of part2-backlog/new.go, all is left",
		"`part2-backlog/add.go`, `sum`: carried":  "nothing of part2-backlog/add.go, sum is left",
		"`part2-backlog/add.go`, `sub`: none":     "has no `sub`",
		"`part2-backlog/none.go`: none":           "is not a file whose code a chapter has to show",
		"`part2-backlog/add.go`, `add` no reason": "not of the form",
	} {
		drift(t, fixture(t, map[string]string{"notes/02-backlog.md": wholeChapter + "- " + item + "\n"}), "coverage", words)
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	files := map[string]string{
		"README.md":   "# Hi\n\n[one](notes/a.md#what-isn_t-so-1) [up](#hi) [web](https://example.com) ![pic](notes/a.svg)\n",
		"notes/a.md":  "# What isn_t, `so`?\n\n# What isn_t so\n\n[dir](../part1-hello) [code](../go.mod#L1) <a id=\"here\"></a> [h](#here)\n",
		"notes/a.svg": "<svg/>",
	}
	assert.Contains(t, truth(t, fixture(t, files), "links"), "links: 7 followed")

	for link, words := range map[string]string{
		"none.md":         "notes/b.md:3: the link none.md leads to notes/none.md",
		"a.md#none":       "leads to no heading of notes/a.md",
		"../../secret.md": "which is not in the repository",
	} {
		files["notes/b.md"] = "# B\n\n[x](" + link + ")\n"
		drift(t, fixture(t, files), "links", words)
	}
}
