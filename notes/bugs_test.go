package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

const addTest = `package main

import "testing"

func TestAdd(t *testing.T) {
	if got := add(2, 2); got != 4 {
		t.Errorf("2 and 2 give\n\t%d", got)
	}
}

func TestSkipped(t *testing.T) { t.Skip("not here") }

func main() {}
`

const plusBug = `diff --git a/part1-hello/add.go b/part1-hello/add.go
--- a/part1-hello/add.go
+++ b/part1-hello/add.go
@@ -16,4 +16,4 @@
 // add adds.
 func add(a, b int) int {
-	return a + b
+	return a - b
 }
`

const plusHead = "Symptom: sums are too small,\n  all of them\nTest: TestAdd\nSays: 2 and 2\n  give 0\n\n"

// planted is a fixture with one bug, its text changed by pairs of old and new.
func planted(t *testing.T, pairs ...string) repo {
	t.Helper()
	return fixture(t, map[string]string{
		"part1-hello/add_test.go":     addTest,
		"part1-hello/bugs/plus.patch": strings.NewReplacer(pairs...).Replace(plusHead + plusBug),
	})
}

func TestPlantedBugInAPackageIsCaughtByItsTest(t *testing.T) {
	inside := strings.NewReplacer("package main", "package in", "func main() {}", "").Replace
	r := fixture(t, map[string]string{
		"part1-hello/in/add.go":       inside(addGo),
		"part1-hello/in/add_test.go":  inside(addTest),
		"part1-hello/bugs/plus.patch": plusHead + strings.ReplaceAll(plusBug, "part1-hello/", "part1-hello/in/"),
	})

	out, ok := says(t, bugsVerb, r, "plus")

	assert.True(t, ok, out)
	assert.Contains(t, out, "caught  part1-hello/plus  by TestAdd")
}

func TestPlantedBugIsCaught(t *testing.T) {
	out, ok := says(t, bugsVerb, planted(t), "plus")

	assert.True(t, ok, out)
	assert.Regexp(t, `^caught  part1-hello/plus  by TestAdd \(\d+\.\d s\)\n$`, out)
}

func TestBugsThatProveNothingAreReported(t *testing.T) {
	for words, pairs := range map[string][]string{
		"with the bug, TestAdd passes":           {"a - b", "b + a"},
		"with the bug, TestAdd does not build":   {"a - b", "a - c"},
		"with the bug, TestAdd hangs":            {"return a - b", "select {}"},
		"running tests:\n    \t\tTestAdd":        {"return a - b", "select {}"},
		"does not say: 2 and 2 give 5":           {"give 0", "give 5"},
		"TestNone does not exist without":        {"TestAdd", "TestNone"},
		"TestSkipped is skipped here without":    {"TestAdd", "TestSkipped"},
		"does not apply: renew it":               {"return a + b", "return b + a"},
		"needs the fields Symptom:, Test: and S": {"Says:", "Words:"},
	} {
		testLimit = 2 * time.Second
		out, ok := says(t, bugsVerb, planted(t, pairs...))

		assert.False(t, ok)
		assert.Contains(t, out, words)
	}
}

const exercise = `//go:build exercise

package main

import "testing"

func TestExerciseMinus(t *testing.T) {
	if add(2, 2) != 0 {
		t.Error("not yet")
	}
}
`

func TestSolutionsSolveAndBreakNothing(t *testing.T) {
	const main = "package main\n\nfunc main() {}\n"
	r := fixture(t, map[string]string{
		"part1-hello/exercise_test.go": exercise,
		"part1-hello/main.go":          main,
		"part1-hello/main_test.go":     "package main\n\nimport \"testing\"\n\nfunc TestMain(m *testing.M) { m.Run() }\n\nfunc TestNothing(t *testing.T) {}\n",
	})
	out, ok := says(t, solutionsVerb, r)
	assert.False(t, ok)
	assert.Contains(t, out, "TestExerciseMinus  has no solution")

	write(t, r, map[string]string{"part1-hello/solutions/minus.patch": "Exercise: TestExerciseMinus\n\nWords.\n\n" + plusBug})
	out, ok = says(t, solutionsVerb, r)
	assert.True(t, ok, out)
	assert.Contains(t, out, "solved  part1-hello/minus  for TestExerciseMinus")

	write(t, r, map[string]string{"part1-hello/add_test.go": strings.Replace(addTest, "func main() {}\n", "", 1)})
	out, ok = says(t, solutionsVerb, r)
	assert.False(t, ok)
	assert.Contains(t, out, "solved, part1-hello as a whole fails")
}
