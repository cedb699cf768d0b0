package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// A region is a stretch of whole lines of a file that a chapter can name:
//
//	all            the file
//	header         down to the package clause
//	listen         a function
//	server.serve   a method
//	server         a type, or a group of types
//	maxHead        a constant or variable, with the group it is declared in
//
// Doc comments belong to their region.
type region struct {
	name       string
	start, end int // byte offsets
}

// regions returns what src, the content of file, has to name. A file that is
// not Go has only `all`.
func regions(file string, src []byte) ([]region, error) {
	found := []region{{"all", 0, len(src)}}
	if !strings.HasSuffix(file, ".go") {
		return found, nil
	}
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, file, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	add := func(name string, from, to token.Pos) {
		start, end := fset.Position(from).Offset, fset.Position(to).Offset
		if eol := bytes.IndexByte(src[end:], '\n'); eol >= 0 {
			end += eol + 1 // a comment on the last line belongs to it
		}
		found = append(found, region{name, start, end})
	}
	add("header", tree.FileStart, tree.Name.End())
	for _, decl := range tree.Decls {
		from := decl.Pos()
		if doc := docOf(decl); doc != nil {
			from = doc.Pos()
		}
		for _, name := range namesOf(decl) {
			add(name, from, decl.End())
		}
	}
	return found, nil
}

func docOf(decl ast.Decl) *ast.CommentGroup {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		return d.Doc
	case *ast.GenDecl:
		return d.Doc
	}
	return nil
}

// namesOf returns what a declaration declares; an import declares nothing.
func namesOf(decl ast.Decl) []string {
	var names []string
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
		return []string{receiver(d.Recv.List[0].Type) + "." + d.Name.Name}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, name := range s.Names {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
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

// find returns the regions of file with the given names, in that order. An
// error lists the names that exist.
func find(file string, src []byte, names []string) ([]region, error) {
	all, err := regions(file, src)
	if err != nil {
		return nil, err
	}
	var found []region
	for _, name := range names {
		i := slices.IndexFunc(all, func(r region) bool { return r.name == name })
		if i < 0 {
			return nil, fmt.Errorf("%s has no `%s`; it has: %s", file, name, list(all))
		}
		found = append(found, all[i])
	}
	return found, nil
}

func list(regions []region) string {
	var names []string
	for _, r := range regions {
		names = append(names, r.name)
	}
	return strings.Join(slices.Compact(names), ", ")
}

// lines returns the first and the last line of r, counted from 1.
func (r region) lines(src []byte) (first, last int) {
	first = 1 + bytes.Count(src[:r.start], []byte("\n"))
	return first, first - 1 + bytes.Count(src[r.start:r.end], []byte("\n"))
}

// text is what a chapter shows of r.
func (r region) text(src []byte) string {
	return strings.TrimRight(string(src[r.start:r.end]), "\n") + "\n"
}
