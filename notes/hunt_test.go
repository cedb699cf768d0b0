package main

import (
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestBugIsPlantedHintedAndMended(t *testing.T) {
	r := fixture(t, map[string]string{
		"part1-hello/sum.go":          "package main\n\nfunc plus(a, b int) int {\n\treturn a + b\n}\n",
		"part1-hello/sum_test.go":     "package main\n\nimport \"testing\"\n\nfunc TestPlus(t *testing.T) {\n\tif plus(1, 2) != 3 {\n\t\tt.Fatal(\"want 3\")\n\t}\n}\n",
		"part1-hello/bugs/sums.patch": "Symptom: sums are wrong\nTest: TestPlus\nSays: want 3\n\ndiff --git a/part1-hello/sum.go b/part1-hello/sum.go\n--- a/part1-hello/sum.go\n+++ b/part1-hello/sum.go\n@@ -3,3 +3,3 @@\n func plus(a, b int) int {\n-\treturn a + b\n+\treturn a - b\n }\n",
	})
	was, _ := r.read("part1-hello/sum.go")

	list, _ := says(t, bugVerb, r)
	assert.Equal(t, "part1-hello/sums\n  sums are wrong\n", list, "the list does not say where")

	for range 2 { // the second time it is planted already
		out, ok := says(t, bugVerb, r, "sums")
		assert.True(t, ok, out)
		assert.Contains(t, out, "TestPlus fails")
		assert.NotContains(t, out, "a - b")
	}
	planted, _ := r.read("part1-hello/sum.go")
	assert.Contains(t, string(planted), "a - b")

	hint, _ := says(t, hintVerb, r, "sums")
	assert.Equal(t, "part1-hello/sum.go\nmore: make hint NAME=sums LEVEL=2\n", hint)
	hint, _ = says(t, hintVerb, r, "-level", "2", "sums")
	assert.Contains(t, hint, "part1-hello/sum.go: plus\n")
	hint, _ = says(t, hintVerb, r, "-level", "3", "sums")
	assert.Contains(t, hint, "part1-hello/sum.go: plus, line 4\n")

	assert.ErrorContains(t, verb(bugVerb).run(r, []string{"none"}, io.Discard), "there is no bug none; make bug lists them")

	out, ok := says(t, mendVerb, r, "sums")
	assert.True(t, ok, out)
	mended, _ := r.read("part1-hello/sum.go")
	assert.Equal(t, string(was), string(mended))
	assert.ErrorContains(t, verb(mendVerb).run(r, []string{"sums"}, io.Discard), "is not planted")
}

func TestNamesOfTestsAreSentences(t *testing.T) {
	for test, want := range map[string]string{
		"TestUnfinishedHeadGets408":                  "Unfinished head gets 408",
		"TestHEADHasTheFieldsOfGETAndNoBody":         "HEAD has the fields of GET and no body",
		"TestRepeatedAcceptErrorIsLoggedOnceASecond": "Repeated accept error is logged once a second",
		"TestIPv4ClientOfAnIPv6ListenerIsServed":     "IPv4 client of an IPv6 listener is served",
		"TestHTTP10ClientsAreServed":                 "HTTP10 clients are served",
		"TestPOSTIsNeverRetried":                     "POST is never retried",
	} {
		assert.Equal(t, want, sentence(test))
	}
}
