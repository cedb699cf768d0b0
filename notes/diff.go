package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
)

// diff compares a with b as `git diff` does, so that a reader who asks git
// sees the same lines. It returns no fragments when they are equal.
func diff(a, b []byte, context int) ([]*gitdiff.TextFragment, error) {
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
	if !errors.As(err, &exit) || exit.ExitCode() != 1 { // 1: they differ
		return nil, fmt.Errorf("git diff: %w: %s", err, out)
	}
	files, _, err := gitdiff.Parse(bytes.NewReader(out))
	if err != nil {
		return nil, fmt.Errorf("git diff: %w", err)
	}
	for _, f := range files[0].TextFragments {
		f.Comment = "" // which function git thinks this is in
	}
	return files[0].TextFragments, nil
}

// git runs git in dir without the user's configuration and outside of any
// repository, and returns what it printed.
func git(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	foreign := func(entry string) bool { return strings.HasPrefix(entry, "GIT_") }
	cmd.Env = append(slices.DeleteFunc(os.Environ(), foreign), "GIT_CONFIG_GLOBAL="+os.DevNull,
		"GIT_CONFIG_SYSTEM="+os.DevNull, "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	return cmd.CombinedOutput()
}
