package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A hunk is one stretch of a unified diff.
type hunk struct {
	oldStart, oldLines int
	newStart, newLines int
	body               []string // lines with their ' ', '-' or '+', no newline
}

var hunkHead = regexp.MustCompile(`^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@`)

// diff compares a with b as `git diff` does, so that a reader who asks git
// sees the same lines. It returns no hunks when they are equal.
func diff(a, b []byte, context int) ([]hunk, error) {
	if bytes.Equal(a, b) {
		return nil, nil
	}
	dir, err := os.MkdirTemp("", "notes-diff-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "a"), a, 0o600), os.WriteFile(filepath.Join(dir, "b"), b, 0o600)); err != nil {
		return nil, err
	}
	out, err := git(dir, "diff", "--no-index", "--text", "--no-color", "--no-ext-diff", "--unified="+strconv.Itoa(context), "a", "b")
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 { // they differ
		return parseHunks(string(out)), nil
	}
	return nil, fmt.Errorf("git diff: %w: %s", err, out)
}

func parseHunks(text string) []hunk {
	var hunks []hunk
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := hunkHead.FindStringSubmatch(line); m != nil {
			hunks = append(hunks, hunk{number(m[1]), number(m[2]), number(m[3]), number(m[4]), nil})
		} else if len(hunks) > 0 && !strings.HasPrefix(line, `\`) {
			last := &hunks[len(hunks)-1]
			last.body = append(last.body, line)
		}
	}
	return hunks
}

// number reads a count of a hunk's head; git leaves out a count of one.
func number(digits string) int {
	if digits == "" {
		return 1
	}
	n, _ := strconv.Atoi(digits)
	return n
}

// added returns the line numbers that h adds, and how many lines it removes.
func (h hunk) added() (lines []int, removed int) {
	at := h.newStart
	for _, line := range h.body {
		switch line[0] {
		case '+':
			lines = append(lines, at)
			at++
		case ' ':
			at++
		case '-':
			removed++
		}
	}
	return lines, removed
}

func (h hunk) String() string {
	return fmt.Sprintf("@@ -%d,%d +%d,%d @@\n%s\n", h.oldStart, h.oldLines, h.newStart, h.newLines, strings.Join(h.body, "\n"))
}

// git runs git in dir with nobody's configuration and outside of any
// repository, and returns what it printed.
func git(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	foreign := func(entry string) bool { return strings.HasPrefix(entry, "GIT_") }
	cmd.Env = append(slices.DeleteFunc(os.Environ(), foreign), "GIT_CONFIG_GLOBAL="+os.DevNull,
		"GIT_CONFIG_SYSTEM="+os.DevNull, "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	return cmd.CombinedOutput()
}
