package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

const (
	stepTests = `package main

func contract() string { return startJudgedServer() }

func startJudgedServer() string { return "" }

func TestA(t *T) { contract() }

func TestB(t *T) {
	for name := range map[string]int{"two words": 1, "one/two": 2, "last": 3} {
		t.Run(name, func() { contract() })
	}
}

func TestFresh(t *T) { startFresh() }

func TestOurs(t *T) { startServer() }

func TestSkipped(t *T) { skipIfJudging(t); contract() }
`
	stepBody = "\n- idea: i\n- minutes: 5\n- now: n\n- hint: h\n- read: 01-a.md, Here\n"
	stepsOf1 = "# Steps\n\n## 1.1 A\n" + stepBody + "- tests: TestA, TestB, TestFresh\n\n## 1.2 B\n" + stepBody
)

func TestEveryContractTestBelongsToOneStep(t *testing.T) {
	for name, c := range map[string]struct{ second, says string }{
		"all is well":      {"- tests: TestB/two_words, TestB/one/two\n", ""},
		"no such test":     {"- tests: TestOurs\n", "step 1.2: TestOurs is no test that runs against $SERVER"},
		"skipped":          {"- tests: TestSkipped\n", "step 1.2: TestSkipped is no test that runs against $SERVER"},
		"no such case":     {"- tests: TestB/three\n", `step 1.2: TestB has no case "three"`},
		"belongs to two":   {"- tests: TestA\n", "step 1.2: TestA belongs to step 1.1"},
		"no such section":  {"\n## 1.3 C\n- idea: i\n- minutes: 5\n- now: n\n- hint: h\n- read: 01-a.md, There\n", `step 1.3: 01-a.md has no section "There"`},
		"the same time":    {"\n## 1.3 C\n- idea: i\n- minutes: 20\n- now: n\n- hint: h\n- read: 01-a.md, Step 1.3 · C\n", ""},
		"another time":     {"\n## 1.3 C\n- idea: i\n- minutes: 5\n- now: n\n- hint: h\n- read: 01-a.md, Step 1.3 · C\n", `step 1.3: it takes 5 minutes here, and in 01-a.md "20"`},
		"the same tests":   {"\n## 1.4 D\n- idea: i\n- minutes: 5\n- now: n\n- hint: h\n- read: 01-a.md, Step 1.4 · D\n- tests: TestB/two_words, TestB/last\n", ""},
		"other tests":      {"\n## 1.4 D\n- idea: i\n- minutes: 5\n- now: n\n- hint: h\n- read: 01-a.md, Step 1.4 · D\n", "step 1.4: the judge's tests are , and in 01-a.md TestB"},
		"not a known word": {"- test: TestA\n", `no step has a "test"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := fixture(t, map[string]string{"part1-hello/a_test.go": stepTests, "notes/01-a.md": "# A\n\n## Here\n\n## Step 1.3 · C\n\n*20 minutes. Now it works.*\n\n## Step 1.4 · D\n\n*5 minutes. So does this.*\n\nTests: `TestB`; of our own program alone: `TestOurs`.\n", "notes/steps/part1.md": stepsOf1 + c.second})

			n := &notes{repo: r}
			err := checkSteps(n)

			var said string
			for _, f := range n.findings {
				said += f.text
			}
			if err != nil {
				said += err.Error()
			}
			if c.says == "" {
				assert.Empty(t, said)
			} else {
				assert.Contains(t, said, c.says)
			}
		})
	}
}

func TestContractTestWithoutAStepIsFound(t *testing.T) {
	r := fixture(t, map[string]string{"part1-hello/a_test.go": stepTests, "notes/01-a.md": "# A\n\n## Here\n", "notes/steps/part1.md": "## 1.1 A\n" + stepBody + "- tests: TestA, TestFresh\n"})
	n := &notes{repo: r}

	assert.NoError(t, checkSteps(n))

	assert.Len(t, n.findings, 1)
	assert.Equal(t, "TestB belongs to no step", n.findings[0].text)
}

func TestClientTestWithoutAStepIsFound(t *testing.T) {
	r := fixture(t, map[string]string{
		"part1-hello/a.go":            "package main\n",
		"notes/clients/a_test.go":     "package clients\n\nfunc runClient() {}\n\nfunc TestA(t *T) { runClient() }\n\nfunc TestB(t *T) { runClient() }\n",
		"notes/01-a.md":               "# A\n\n## Here\n",
		"notes/steps/part1-client.md": "## 1.1 A\n" + stepBody + "- tests: TestA\n",
	})
	n := &notes{repo: r}

	assert.NoError(t, checkSteps(n))

	assert.Len(t, n.findings, 1)
	assert.Equal(t, "TestB belongs to no step", n.findings[0].text)
}
