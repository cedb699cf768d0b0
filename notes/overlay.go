package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
)

// A patch is a planted bug or an exercise's solution: a head of "Field: value"
// lines and free text, then a unified diff against the repository's root.
type patch struct {
	part, name string
	file       string
	head       map[string]string
	touches    []string // the files that it changes, makes or removes
}

func (p patch) String() string { return p.part + "/" + p.name }

var patchField = regexp.MustCompile(`^([A-Z][a-z]+):[ \t]*(.*)`)

// patches returns the patches in the directory dir of every part, or of one.
// names, if there are any, say which of them.
func (r repo) patches(part, dir string, names []string) ([]patch, error) {
	if part != "" {
		if err := r.checkPart(part); err != nil {
			return nil, err
		}
	}
	var found []patch
	wanted := slices.Clone(names)
	for _, in := range r.parts() {
		for _, file := range r.glob(in + "/" + dir + "/*.patch") {
			p := patch{part: in, name: strings.TrimSuffix(path.Base(file), ".patch"), file: file}
			named := slices.Contains(names, p.name) || slices.Contains(names, p.String())
			if part != "" && part != in || len(names) > 0 && !named {
				continue
			}
			if err := r.readPatch(&p); err != nil {
				return nil, err
			}
			wanted = slices.DeleteFunc(wanted, func(n string) bool { return n == p.name || n == p.String() })
			found = append(found, p)
		}
	}
	if len(wanted) > 0 {
		return nil, usageError(fmt.Sprintf("no %s/NAME.patch for %s", dir, strings.Join(wanted, ", ")))
	}
	return found, nil
}

// readPatch reads p's head and which files it touches: those of its part,
// and no test.
func (r repo) readPatch(p *patch) error {
	src, err := r.read(p.file)
	if err != nil {
		return err
	}
	files, head, err := gitdiff.Parse(bytes.NewReader(src))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("%s holds no diff, or a broken one: %v", p.file, err)
	}
	p.head = fields(head)
	for _, f := range files {
		for _, file := range []string{f.OldName, f.NewName} {
			if file != "" && !slices.Contains(p.touches, file) {
				p.touches = append(p.touches, file)
			}
		}
	}
	for _, file := range p.touches {
		if part, _ := partAndFile(file); part != p.part || strings.HasSuffix(file, "_test.go") {
			return fmt.Errorf("%s changes %s: it may change the program of %s, and nothing else", p.file, file, p.part)
		}
	}
	return nil
}

// fields reads a head: a field goes on in the indented lines after it.
func fields(head string) map[string]string {
	found := map[string]string{}
	field := ""
	for line := range strings.Lines(head) {
		if m := patchField.FindStringSubmatch(line); m != nil {
			field = m[1]
			found[field] = m[2]
		} else if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			found[field] += " " + strings.TrimSpace(line)
		} else {
			field = ""
		}
	}
	return found
}

// overlay applies p to copies of its files, in dir, and returns the file to
// hand to `go test -overlay`. The repository stays as it is.
func (r repo) overlay(p patch, dir string) (string, error) {
	for _, file := range p.touches {
		src, err := os.ReadFile(r.abs(file))
		if os.IsNotExist(err) {
			continue // p makes it
		}
		copied := filepath.Join(dir, file)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(copied), 0o755), os.WriteFile(copied, src, 0o644)); err != nil {
			return "", err
		}
	}
	if out, err := git(dir, "apply", r.abs(p.file)); err != nil {
		return "", fmt.Errorf("%s does not apply: renew it against %s: %s", p.file, p.part, out)
	}
	replace := map[string]string{}
	for _, file := range p.touches {
		replace[r.abs(file)] = filepath.Join(dir, file)
		if _, err := os.Stat(replace[r.abs(file)]); err != nil {
			replace[r.abs(file)] = "" // p removes it
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	file := filepath.Join(dir, "overlay.json")
	return file, errors.Join(err, os.WriteFile(file, text, 0o644))
}

// A verdict is what a run of `go test` says about one test, or about all.
type verdict string

const (
	passed    verdict = "passes"
	failed    verdict = "fails"
	skipped   verdict = "is skipped here"
	unbuilt   verdict = "does not build"
	hung      verdict = "hangs"
	noSuchOne verdict = "does not exist"
)

type outcome struct {
	verdict verdict
	output  string
	took    time.Duration
}

var testLimit = 60 * time.Second // for one run of a part's tests, without the build

// test runs one test of part, or all with "", under an overlay if there is one.
func (r repo) test(part, name, overlay string, tags ...string) outcome {
	ctx, cancel := context.WithTimeout(r.ctx, 2*testLimit+time.Minute)
	defer cancel()
	args := []string{"test", "-json", "-count=1", "-timeout", testLimit.String(), "-tags", strings.Join(tags, ",")}
	if name != "" {
		args = append(args, "-run", "^"+strings.ReplaceAll(name, "/", "$/^")+"$")
	}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, r.packageWith(part, name))...)
	cmd.Dir = r.root
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	begin := time.Now()
	printed, err := cmd.CombinedOutput()
	result := judge(printed, name)
	result.took = time.Since(begin)
	if before, which, late := strings.Cut(result.output, "panic: test timed out after"); late {
		which, _, _ = strings.Cut(which, "\n\n")
		result.verdict, result.output = hung, before+"panic: test timed out after"+which+"\n" // without all goroutines' stacks
	} else if ctx.Err() != nil {
		result.verdict = hung
	} else if err != nil && result.verdict == passed { // it passed, and then the program broke
		result.verdict = failed
	}
	return result
}

// A testEvent is a line of `go test -json`.
type testEvent struct{ Action, Test, Output, FailedBuild string }

// judge reads what `go test -json` printed about the test name, or about all
// tests with "".
func judge(printed []byte, name string) outcome {
	var output strings.Builder
	result := outcome{verdict: noSuchOne}
	for line := range bytes.Lines(printed) {
		var e testEvent
		if json.Unmarshal(line, &e) != nil {
			output.Write(line) // go's own words
			continue
		}
		output.WriteString(e.Output)
		switch {
		case e.FailedBuild != "" || e.Action == "build-fail":
			result.verdict = unbuilt
		case e.Test == name && e.Action == "pass" && result.verdict != failed && result.verdict != unbuilt: // "" is once for each package
			result.verdict = passed
		case e.Test == name && e.Action == "fail" && result.verdict != unbuilt:
			result.verdict = failed
		case e.Test == name && e.Action == "skip" && (name != "" || result.verdict == noSuchOne): // a package without tests
			result.verdict = skipped
		}
	}
	result.output = output.String()
	return result
}
