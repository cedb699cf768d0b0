package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"unicode"
)

// storyVerb runs a part's tests and prints each as the sentence that its name is.
func storyVerb(r repo, q request, out io.Writer) error {
	if err := r.checkPart(q.part); err != nil {
		return err
	}
	cmd := exec.CommandContext(r.ctx, "go", "test", "-json", "-count=1", "-parallel=1", "./"+q.part+"/...")
	cmd.Dir = r.root
	events, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	marks := map[string]string{"pass": "+", "fail": "FAIL", "skip": "skipped:"}
	failed := map[string]*strings.Builder{}
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			testEvent
			Package string
			Elapsed float64
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(out, lines.Text())
			continue
		}
		root, _, sub := strings.Cut(e.Test, "/")
		said := failed[e.Package+root]
		if said == nil {
			said = &strings.Builder{}
			failed[e.Package+root] = said
		}
		said.WriteString(e.Output)
		if mark := marks[e.Action]; mark != "" && !sub && e.Test != "" {
			fmt.Fprintf(out, "  %s %s (%.1f s)\n", mark, sentence(e.Test), e.Elapsed)
			if e.Action == "fail" {
				fmt.Fprint(out, tail(said.String(), 40))
			}
		} else if e.Action == "start" {
			fmt.Fprintln(out, strings.TrimPrefix(e.Package, "socketup/"))
		}
	}
	if cmd.Wait() != nil {
		return errFailed
	}
	return nil
}

// sentence makes words of a test's name: TestSilentClientGets408 is
// "Silent client gets 408".
func sentence(test string) string {
	var b strings.Builder
	name := []rune(strings.TrimPrefix(test, "Test"))
	for i, c := range name {
		if i == 0 {
			b.WriteRune(c)
			continue
		}
		upper, before := unicode.IsUpper(c), name[i-1]
		nextLower := i+1 < len(name) && unicode.IsLower(name[i+1])
		digit := unicode.IsDigit(c) && !unicode.IsDigit(before) && !unicode.IsUpper(before)
		begins := upper && (unicode.IsLower(before) || unicode.IsDigit(before) || unicode.IsUpper(before) && nextLower) || digit
		if begins {
			b.WriteByte(' ')
		}
		if begins && upper && (nextLower || i+1 == len(name)) {
			c = unicode.ToLower(c)
		}
		b.WriteRune(c)
	}
	return spelling.Replace(b.String())
}

var spelling = strings.NewReplacer("I pv 4", "IPv4", "I pv 6", "IPv6", " A ", " a ")
