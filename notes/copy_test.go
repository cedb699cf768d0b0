package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// No part needs another: a copy of its directory, made a module, builds and has its
// tests. Under its old name that takes nothing; under another, its imports of its own
// packages are rewritten.
func TestAPartCanBeCopiedOut(t *testing.T) {
	r, err := findRepo(t.Context(), ".")
	require.NoError(t, err)
	for _, part := range r.parts() {
		for _, name := range []string{"socketup/" + part, "example.com/mine"} {
			t.Run(part+" as "+name, func(t *testing.T) {
				dir := t.TempDir()
				require.NoError(t, os.CopyFS(dir, os.DirFS(r.abs(part))))
				for _, file := range (repo{dir, t.Context()}).goFilesBelow() {
					src, err := os.ReadFile(file)
					require.NoError(t, err)
					text := strings.ReplaceAll(string(src), `"socketup/`+part+`/`, `"`+name+`/`)
					require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
				}
				mod, err := r.read("go.mod")
				require.NoError(t, err)
				mod = regexp.MustCompile(`(?m)^module .*$`).ReplaceAll(mod, []byte("module "+name))
				require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), mod, 0o644))
				sum, err := r.read("go.sum")
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(dir, "go.sum"), sum, 0o644))

				vet := exec.CommandContext(t.Context(), "go", "vet", "./...")
				vet.Dir, vet.Env = dir, append(os.Environ(), "GOWORK=off")
				out, err := vet.CombinedOutput()

				require.NoError(t, err, "%s", out)
			})
		}
	}
}

// goFilesBelow returns the Go files anywhere in r, as they are called on disk.
func (r repo) goFilesBelow() (files []string) {
	for _, pattern := range []string{"*.go", "*/*.go", "*/*/*.go"} {
		for _, file := range r.glob(pattern) {
			files = append(files, r.abs(file))
		}
	}
	return files
}

// What a part teaches it does itself: net/http is for tests.
func TestNoPartHasNetHTTPInIt(t *testing.T) {
	r, err := findRepo(t.Context(), ".")
	require.NoError(t, err)
	for _, part := range r.parts() {
		list := exec.CommandContext(t.Context(), "go", "list", "-deps", "./"+part)
		list.Dir = r.root

		out, err := list.Output()

		require.NoError(t, err)
		require.NotContains(t, strings.Split(string(out), "\n"), "net/http", part)
	}
}
