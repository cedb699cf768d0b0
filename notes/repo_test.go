package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fixture writes a small series: two parts, and the files given on top.
func fixture(t *testing.T, files map[string]string) repo {
	t.Helper()
	r := repo{t.TempDir(), t.Context()}
	write(t, r, map[string]string{
		"go.mod":             "module socketup\n\ngo 1.26\n",
		"part1-hello/add.go": addGo,
		"part1-hello/old.go": "package main\n",
		"part2-backlog/add.go": strings.Replace(addGo, "return a + b", "sum := a + b\n\treturn sum", 1) +
			"\n// twice is new.\nfunc twice(a int) int { return add(a, a) }\n",
		"part2-backlog/new.go": "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tfmt.Println(twice(2))\n}\n",
	})
	write(t, r, files)
	return r
}

const addGo = `// This file adds.
package main

// limits of the sum.
const (
	low  = 1 // at least
	high = 9
)

// A sum has parts.
type sum struct{ a, b int }

// total adds them.
func (s *sum) total() int { return add(s.a, s.b) }

// add adds.
func add(a, b int) int {
	return a + b
}
`

func write(t *testing.T, r repo, files map[string]string) {
	t.Helper()
	for file, text := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(r.abs(file)), 0o755))
		require.NoError(t, os.WriteFile(r.abs(file), []byte(text), 0o644))
	}
}

// says runs a verb and returns what it prints, and whether all was true.
func says(t *testing.T, v verb, r repo, args ...string) (string, bool) {
	t.Helper()
	var out bytes.Buffer
	err := v.run(r, args, &out)
	if err != nil {
		require.ErrorIs(t, err, errFailed)
	}
	return out.String(), err == nil
}

// drift wants check to fail in the given words.
func drift(t *testing.T, r repo, only, words string) {
	t.Helper()
	out, ok := says(t, checkVerb, r, "-only", only)
	assert.False(t, ok)
	assert.Contains(t, out, words)
}

// truth wants check to find nothing.
func truth(t *testing.T, r repo, only string) string {
	t.Helper()
	out, ok := says(t, checkVerb, r, "-only", only)
	assert.True(t, ok, out)
	return out
}

// mended wants refresh to make the check pass, and returns the file then.
func mended(t *testing.T, r repo, only, file string) string {
	t.Helper()
	out, ok := says(t, refreshVerb, r, "-only", only)
	assert.True(t, ok, out)
	assert.Contains(t, out, file)
	truth(t, r, only)
	text, err := r.read(file)
	require.NoError(t, err)
	return string(text)
}

func TestBadInputExitsWithTwoAndUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"grow"}, {"growth", "part9-none"}, {"check", "-only", "spelling"}, {"bugs", "-x"}, {"html"}} {
		var out, err bytes.Buffer
		t.Chdir(fixture(t, nil).root)

		assert.Equal(t, 2, run(args, &out, &err), "%q", args)
		assert.Contains(t, err.String(), "example: go -C notes run .")
	}
}

func TestGrowthNamesNewGrownCarriedAndLeftBehind(t *testing.T) {
	r := fixture(t, map[string]string{"part1-hello/same.go": "package main\n", "part2-backlog/same.go": "package main\n"})

	out, _ := says(t, growthVerb, r, "part2-backlog")

	assert.Contains(t, out, "| `add.go` | grown (+5 −1) | 23 |\n| `new.go` | new | 7 |\n| `same.go` | carried | 1 |\n")
	assert.Contains(t, out, "Left behind in part1-hello: `old.go`.")
}

// A file that has moved into a package is the same file; its package clause and the
// imports of the part's own packages are no growth.
func TestGrowthKnowsAFileThatHasMovedIntoAPackage(t *testing.T) {
	use := "package main\n\nimport (\n\t\"fmt\"\n)\n\nvar a = fmt.Sprint()\n"
	r := fixture(t, map[string]string{
		"part1-hello/moved.go":      "package main\n\nvar a int\n",
		"part2-backlog/in/moved.go": "package in\n\nvar a int\n",
		"part1-hello/use.go":        use,
		"part2-backlog/in/use.go":   strings.NewReplacer("main", "in", "\n)", "\n\n\t\"socketup/part2-backlog/out\"\n)").Replace(use),
		"part1-hello/doc.go":        "package main\n",
		"part2-backlog/in/doc.go":   "package in\n",
		"part2-backlog/out/doc.go":  "package out\n",
		"part2-backlog/out/out.go":  "package out\n\nvar b int\n",
	})

	out, _ := says(t, growthVerb, r, "part2-backlog")

	assert.Contains(t, out, "| `in/moved.go` | carried, from `moved.go` | 3 |\n")
	assert.Contains(t, out, "| `in/use.go` | carried, from `use.go` | 9 |\n")
	assert.Contains(t, out, "| `in/doc.go` | new | 1 |\n", "it may have been either")
	assert.Contains(t, out, "| `out/out.go` | new | 3 |\n")
	assert.Contains(t, out, "Left behind in part1-hello: `doc.go`, `old.go`.")
}

func TestCodeAndCoverageReachIntoPackages(t *testing.T) {
	files := map[string]string{
		"part2-backlog/in/deep.go": "package in\n\n// deep is.\nfunc deep() int {\n\treturn 1\n}\n",
		"notes/02-backlog.md":      "# Two\n\n`part2-backlog/in/deep.go`, `deep`\n\n```go\nstale\n```\n\n## Left to the reader\n\n- `part2-backlog/add.go`: it adds.\n- `part2-backlog/new.go`: it is new.\n",
	}
	r := fixture(t, files)

	assert.Contains(t, mended(t, r, "code", "notes/02-backlog.md"), "// deep is.\nfunc deep() int {")
	assert.Contains(t, truth(t, r, "coverage"), "of the")
}

func TestGrowthTableIsWantedAndKept(t *testing.T) {
	r := fixture(t, map[string]string{"notes/02-backlog.md": "# Two\n\n`part2-backlog/new.go`, `main`\n\n```go\n```\n"})
	drift(t, r, "growth", "no growth table of part2-backlog")

	write(t, r, map[string]string{"notes/02-backlog.md": "# Two\n<!-- growth part2-backlog -->\n| stale |\n<!-- /growth -->\nMore.\n"})
	drift(t, r, "growth", "-| stale |")

	assert.Contains(t, mended(t, r, "growth", "notes/02-backlog.md"), "| `new.go` | new | 7 |")
}
