package book

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A source is a file of the parts that pages can link to.
type source struct {
	path  string // part1-hello/server.go
	text  []byte
	decls []decl
}

// A decl is a declaration at the top of a Go file, whole lines with its comment.
type decl struct {
	names      []string // server, or server.serve for a method; several in a group
	start, end int      // bytes
}

// sources are the files of the parts, and where their tests are.
type sources struct {
	root   string
	byPath map[string]*source
	paths  []string            // sorted
	tests  map[string][]string // the files that declare a test of that name
	wanted map[string]bool     // those that a page has linked to
}

// loadSources reads the Go files of the parts at root, and the tests that judge clients.
func loadSources(root string) (*sources, error) {
	s := &sources{root, map[string]*source{}, nil, map[string][]string{}, map[string]bool{}}
	for _, pattern := range []string{"part*/*.go", "part*/*/*.go", "notes/clients/*.go"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			rel, err := filepath.Rel(root, file)
			if err == nil {
				err = s.add(filepath.ToSlash(rel))
			}
			if err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(s.paths)
	return s, nil
}

// add reads one file, and notes what it declares.
func (s *sources) add(file string) error {
	text, err := os.ReadFile(filepath.Join(s.root, filepath.FromSlash(file)))
	if err != nil {
		return err
	}
	src := &source{path: file, text: text}
	if strings.HasSuffix(file, ".go") {
		if src.decls, err = declarations(file, text); err != nil {
			return err
		}
	}
	s.byPath[file] = src
	s.paths = append(s.paths, file)
	for _, d := range src.decls {
		for _, name := range d.names {
			if testName.MatchString(name) {
				s.tests[name] = append(s.tests[name], file)
			}
		}
	}
	return nil
}

// testName matches what go test runs.
var testName = regexp.MustCompile(`^(Test|Fuzz|Benchmark|Example)[A-Z]\w*$`)

// declarations returns what a Go file declares, in order.
func declarations(file string, text []byte) ([]decl, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, file, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var all []decl
	for _, d := range tree.Decls {
		names, doc := namesOf(d)
		if len(names) == 0 {
			continue
		}
		from := d.Pos()
		if doc != nil {
			from = doc.Pos()
		}
		start, end := fset.Position(from).Offset, fset.Position(d.End()).Offset
		if eol := bytes.IndexByte(text[end:], '\n'); eol >= 0 {
			end += eol + 1
		}
		all = append(all, decl{names, start, end})
	}
	return all, nil
}

func namesOf(d ast.Decl) (names []string, doc *ast.CommentGroup) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}, d.Doc
		}
		return []string{receiver(d.Recv.List[0].Type) + "." + d.Name.Name}, d.Doc
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, spec.Name.Name)
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					names = append(names, name.Name)
				}
			}
		}
		return names, d.Doc
	}
	return nil, nil
}

// receiver returns the type's name in (s server), (s *server), (s *server[T]).
func receiver(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// file returns the address of a file's page as seen from the book's top, or "" when
// there is none. name may be whole, or what the chapters call it: the end of a path
// inside part. Where a part has several, it is the one of preferred, or the program's
// own.
func (s *sources) file(name, part string, preferred []string) string {
	if s.byPath[name] == nil {
		name = s.inPart(name, part, preferred)
	}
	if name == "" {
		return ""
	}
	s.wanted[name] = true
	return "src/" + name + ".html"
}

// inPart returns the path of the file in part whose path ends in name, or "" when
// there is none, or no telling which.
func (s *sources) inPart(name, part string, preferred []string) string {
	var found []string
	for _, file := range s.paths {
		if part == "" || !strings.HasPrefix(file, part+"/") || !strings.HasSuffix(file, "/"+name) {
			continue
		}
		if slices.Contains(preferred, file) || file == part+"/"+name {
			return file
		}
		found = append(found, file)
	}
	if len(found) != 1 {
		return ""
	}
	return found[0]
}

// within returns the address of a declaration in a file.
func (s *sources) within(file, name string) string {
	at := s.file(file, "", nil)
	if at == "" || !s.byPath[file].declares(name) {
		return at
	}
	return at + "#" + name
}

func (s *source) declares(name string) bool {
	return slices.ContainsFunc(s.decls, func(d decl) bool { return slices.Contains(d.names, name) })
}

// test returns the address of a test, that of part if it has one, or "".
func (s *sources) test(name, part string) string {
	name, _, _ = strings.Cut(name, "/") // a case of it
	files := s.tests[name]
	if len(files) == 0 {
		return ""
	}
	i := slices.IndexFunc(files, func(file string) bool { return part != "" && strings.HasPrefix(file, part) })
	return s.within(files[max(i, 0)], name)
}

// code returns the file with its colours; each declaration is an element with its name
// as id.
func (s *source) code() string {
	lang := map[string]string{".go": "go", ".py": "python", ".js": "javascript", ".sh": "bash"}[path.Ext(s.path)]
	var b strings.Builder
	from := 0
	for _, d := range s.decls {
		b.WriteString(highlight(lang, string(s.text[from:d.start])))
		fmt.Fprintf(&b, `<span id="%s">`, d.names[0])
		for _, name := range d.names[1:] {
			fmt.Fprintf(&b, `<a id="%s"></a>`, name)
		}
		b.WriteString(highlight(lang, string(s.text[d.start:d.end])) + "</span>")
		from = d.end
	}
	b.WriteString(highlight(lang, string(s.text[from:])))
	return b.String()
}
