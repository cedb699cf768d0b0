package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"socketup/notes/steps"
)

// checkSteps proves, for each part and for clients, that every contract test belongs to exactly one step, that
// the steps name nothing else, and that a reader finds the section they point to.
// A part without a file of steps is not looked at.
func checkSteps(n *notes) error {
	for _, part := range n.parts() {
		number := strings.TrimPrefix(part[:len("part1")], "part")
		all, err := steps.Load(n.root, number)
		if os.IsNotExist(err) {
			continue
		} else if err != nil {
			return err
		}
		streams, err := steps.Load(n.root, number+steps.OfStreams)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		all = append(all, streams...)
		tests, err := n.contractTests(part, "startJudgedServer", "startFresh")
		if err != nil {
			return err
		}
		for _, text := range append(stepsAgainst(all, tests), n.unreadable(all)...) {
			n.findings = append(n.findings, finding{file: steps.File(number), line: 1, text: text})
		}
		n.sum("steps of part %s: %d, with %d contract tests", number, len(all), len(tests))
	}
	return checkClientSteps(n)
}

// checkClientSteps is checkSteps for clients: their tests are in one place, and the
// steps in a file for each part that has some.
func checkClientSteps(n *notes) error {
	tests, err := n.contractTests("notes/clients", "runClient")
	if err != nil || len(tests) == 0 {
		return err
	}
	var all []steps.Step
	for _, part := range n.parts() {
		number := strings.TrimPrefix(part[:len("part1")], "part") + steps.OfClients
		some, err := steps.Load(n.root, number)
		if os.IsNotExist(err) {
			continue
		} else if err != nil {
			return err
		}
		all = append(all, some...)
	}
	for _, text := range append(stepsAgainst(all, tests), n.unreadable(all)...) {
		n.findings = append(n.findings, finding{file: steps.File("*" + steps.OfClients), line: 1, text: text})
	}
	n.sum("steps of clients: %d, with %d contract tests", len(all), len(tests))
	return nil
}

// A contractTest is a test that runs against the server in $SERVER: its strings,
// among them the names of its cases, as go test prints them.
type contractTest map[string]bool

// stepsAgainst says what is not so in the steps, given a part's contract tests.
func stepsAgainst(all []steps.Step, tests map[string]contractTest) (wrong []string) {
	owner := map[string]string{} // test or case: the number of its step
	for _, step := range all {
		for _, test := range step.Tests {
			name := test.String()
			switch has, found := tests[test.Name]; {
			case !found:
				wrong = append(wrong, fmt.Sprintf("step %s: %s is no test that runs against $SERVER", step.Number, test.Name))
			case test.Case != "" && !has[test.Case]:
				wrong = append(wrong, fmt.Sprintf("step %s: %s has no case %q", step.Number, test.Name, test.Case))
			case owner[name] != "":
				wrong = append(wrong, fmt.Sprintf("step %s: %s belongs to step %s", step.Number, name, owner[name]))
			}
			owner[name] = step.Number
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		if owner[name] == "" {
			wrong = append(wrong, fmt.Sprintf("%s belongs to no step", name))
		}
	}
	return wrong
}

// minutesOf returns the minutes in the line under a heading of chapter, as *20 minutes. …*
func minutesOf(chapter, section string) string {
	_, text, _ := strings.Cut(chapter, "\n## "+section+"\n\n*")
	line, _, _ := strings.Cut(text, "\n")
	minutes, _, _ := strings.Cut(line, " minutes.")
	return minutes
}

// judgedTests returns the tests that the section of chapter gives as the judge's. A chapter
// may also leave it open which tests those are.
func judgedTests(chapter, section string) (names string, told bool) {
	_, text, _ := strings.Cut(chapter, "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	_, text, _ = strings.Cut(text, "\nTests: ")
	line, _, _ := strings.Cut(text, "\n")
	judged, _, told := strings.Cut(line, "; of our own program alone: ")
	return strings.ReplaceAll(judged, "`", ""), told
}

// testNames returns the names of tests, each once, in their order.
func testNames(tests []steps.Test) string {
	var names []string
	for _, test := range tests {
		if !slices.Contains(names, test.Name) {
			names = append(names, test.Name)
		}
	}
	return strings.Join(names, ", ")
}

// unreadable says which steps point to a section that is not there, or that says another
// time. A chapter that has no steps yet is not asked for one.
func (n *notes) unreadable(all []steps.Step) (wrong []string) {
	for _, step := range all {
		file, section, _ := strings.Cut(step.Read, ", ")
		chapter, err := n.read("notes/" + file)
		if err == nil && strings.HasPrefix(section, "Step ") && !strings.Contains(string(chapter), "\n## Step ") {
			continue
		}
		if err != nil || !strings.Contains(string(chapter), "\n## "+section+"\n") {
			wrong = append(wrong, fmt.Sprintf("step %s: %s has no section %q", step.Number, file, section))
			continue
		}
		if there := minutesOf(string(chapter), section); strings.HasPrefix(section, "Step ") && there != step.Minutes {
			wrong = append(wrong, fmt.Sprintf("step %s: it takes %s minutes here, and in %s %q", step.Number, step.Minutes, file, there))
		}
		if there, told := judgedTests(string(chapter), section); told && there != testNames(step.Tests) {
			wrong = append(wrong, fmt.Sprintf("step %s: the judge's tests are %s, and in %s %s", step.Number, testNames(step.Tests), file, there))
		}
	}
	return wrong
}

// contractTests returns the tests of the package in part that reach a function of
// starts, and are not skipped when there is a $SERVER.
func (r repo) contractTests(part string, starts ...string) (map[string]contractTest, error) {
	bodies := map[string]*ast.BlockStmt{}
	for _, file := range r.names(part + "/*_test.go") {
		src, err := r.read(part + "/" + file)
		if err != nil {
			return nil, err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, src, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Body != nil {
				bodies[f.Name.Name] = f.Body
			}
		}
	}
	tests := map[string]contractTest{}
	for name, body := range bodies {
		if strings.HasPrefix(name, "Test") && !calls(body, "skipIfJudging") && reaches(bodies, name, starts, map[string]bool{}) {
			tests[name] = stringsIn(body)
		}
	}
	return tests, nil
}

// reaches returns whether the function name calls one of starts, itself or through
// others; seen are those looked at.
func reaches(bodies map[string]*ast.BlockStmt, name string, starts []string, seen map[string]bool) bool {
	if slices.Contains(starts, name) {
		return true
	}
	body := bodies[name]
	if body == nil || seen[name] {
		return false
	}
	seen[name] = true
	found := false
	ast.Inspect(body, func(node ast.Node) bool {
		if call, ok := node.(*ast.CallExpr); ok {
			if f, ok := call.Fun.(*ast.Ident); ok && reaches(bodies, f.Name, starts, seen) {
				found = true
			}
		}
		return !found
	})
	return found
}

// calls returns whether body calls the function name directly.
func calls(body *ast.BlockStmt, name string) bool {
	found := false
	ast.Inspect(body, func(node ast.Node) bool {
		if call, ok := node.(*ast.CallExpr); ok {
			f, ok := call.Fun.(*ast.Ident)
			found = found || ok && f.Name == name
		}
		return !found
	})
	return found
}

// stringsIn returns the string literals in body, with underscores for spaces.
func stringsIn(body *ast.BlockStmt) contractTest {
	all := contractTest{}
	ast.Inspect(body, func(node ast.Node) bool {
		if lit, ok := node.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				all[strings.ReplaceAll(text, " ", "_")] = true
			}
		}
		return true
	})
	return all
}
