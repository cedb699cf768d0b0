package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A repo is the series on disk. Paths given to its methods, and paths in
// everything it prints, are relative to root and use slashes.
type repo struct {
	root string
	ctx  context.Context // done when the user interrupts; ends what runs
}

var (
	seriesModule = regexp.MustCompile(`(?m)^module socketup\s*$`)
	partName     = regexp.MustCompile(`^part[1-9]-[a-z0-9-]+$`)
)

// findRepo returns the repository that dir lies in: the nearest directory
// upwards whose go.mod names the module socketup.
func findRepo(ctx context.Context, dir string) (repo, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return repo{}, err
	}
	for at := start; ; at = filepath.Dir(at) {
		mod, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && seriesModule.Match(mod) {
			return repo{at, ctx}, nil
		}
		if at == filepath.Dir(at) {
			return repo{}, fmt.Errorf("no go.mod with `module socketup` in %s or above it: run inside the repository", start)
		}
	}
}

// abs is where file is on disk.
func (r repo) abs(file string) string { return filepath.Join(r.root, filepath.FromSlash(file)) }

// read returns what is in file, which must not lead out of the repository.
func (r repo) read(file string) ([]byte, error) {
	if !filepath.IsLocal(filepath.FromSlash(file)) {
		return nil, fmt.Errorf("%s leads out of the repository", file)
	}
	src, err := os.ReadFile(r.abs(file))
	if os.IsNotExist(err) {
		dir := path.Dir(file)
		return nil, fmt.Errorf("there is no file %s; %s has: %s", file, dir, strings.Join(r.names(dir+"/*"), ", "))
	}
	return src, err
}

// glob returns the paths that match pattern, sorted.
func (r repo) glob(pattern string) []string {
	found, _ := filepath.Glob(r.abs(pattern)) // only a bad pattern is an error
	for i, file := range found {
		rel, _ := filepath.Rel(r.root, file)
		found[i] = filepath.ToSlash(rel)
	}
	return found
}

// names is glob without the directories.
func (r repo) names(pattern string) []string {
	files := r.glob(pattern)
	for i, file := range files {
		files[i] = path.Base(file)
	}
	return files
}

// parts returns the parts that have Go files so far, first part first.
func (r repo) parts() []string {
	var parts []string
	for _, dir := range r.glob("part*") {
		if partName.MatchString(dir) && len(r.goFiles(dir)) > 0 {
			parts = append(parts, dir)
		}
	}
	return parts
}

// previous returns the part before part, or "" for the first.
func (r repo) previous(part string) string {
	parts := r.parts()
	if i := slices.Index(parts, part); i > 0 {
		return parts[i-1]
	}
	return ""
}

// goFiles returns the Go files of part and of the packages in it, tests included:
// main.go, server/conn.go. The program's own come first.
func (r repo) goFiles(part string) []string {
	files := r.names(part + "/*.go")
	for _, file := range r.glob(part + "/*/*.go") {
		files = append(files, strings.TrimPrefix(file, part+"/"))
	}
	return files
}

// partAndFile takes the path of a file in a part apart: part3-pipelining and
// server/conn.go.
func partAndFile(file string) (part, within string) {
	part, within, _ = strings.Cut(file, "/")
	return part, within
}

// packageWith returns the directory under part with the test name, as an argument
// of go test; all packages of the part with "", or when none has it.
func (r repo) packageWith(part, name string) string {
	root, _, _ := strings.Cut(name, "/")
	for _, file := range r.goFiles(part) {
		if root == "" || !strings.HasSuffix(file, "_test.go") {
			continue
		}
		src, err := r.read(part + "/" + file)
		if err == nil && bytes.Contains(src, []byte("\nfunc "+root+"(")) {
			return "./" + path.Join(part, path.Dir(file))
		}
	}
	return "./" + part + "/..."
}

// checkPart says which parts there are when part is none of them.
func (r repo) checkPart(part string) error {
	if parts := r.parts(); !slices.Contains(parts, part) {
		return usageError(fmt.Sprintf("there is no part %q; there are: %s", part, strings.Join(parts, ", ")))
	}
	return nil
}
