package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	md "github.com/yuin/goldmark/ast"
	"golang.org/x/tools/go/packages"
)

// An introduction is what a reader has met so far: the names that shown code
// declares, and those that prose sets as code.
type introduction map[string]bool

// inReadingOrder returns the chapters in the order in which their names are met: a page that
// belongs to a chapter, such as 09a-frames.md, is read where the chapter leads to it.
func inReadingOrder(chapters []*chapter) []*chapter {
	key := func(c *chapter) string {
		return extraPage.ReplaceAllString(path.Base(c.file), "$1 ")
	}
	return slices.SortedStableFunc(slices.Values(chapters), func(a, b *chapter) int { return strings.Compare(key(a), key(b)) })
}

var extraPage = regexp.MustCompile(`^(\d\d)[a-z]-`)

// checkNames wants every name of a part that shown code uses to be introduced by the
// end of its chapter. It looks at chapters that name their subject.
func checkNames(n *notes) error {
	if err := n.checkTestNames(); err != nil {
		return err
	}
	met := introduction{}
	loaded := map[string][]*packages.Package{} // by part
	for _, c := range inReadingOrder(n.chapters) {
		fences, _ := c.fences()
		for _, f := range fences {
			if err := met.code(n, f.about); err != nil {
				return err
			}
		}
		met.prose(c)
		if !subjectMark.Match(c.src) {
			continue
		}
		strange := 0
		for _, f := range fences {
			part, _ := partAndFile(f.about.file)
			if !slices.Contains(n.parts(), part) || f.lang != "go" {
				continue
			}
			if loaded[part] == nil {
				var err error
				if loaded[part], err = n.load(part); err != nil {
					return err
				}
			}
			for _, name := range n.uses(loaded[part], f.about) {
				if !met[name] {
					strange++
					n.say(c, f.start-1, "the code uses `%s`, which no chapter has introduced so far: show it, or name it in the prose", name)
				}
			}
		}
		n.sum("%s: %d names are used and not introduced", path.Base(c.file), strange)
	}
	return nil
}

// code adds the names that a quoted region declares.
func (met introduction) code(n *notes, q quote) error {
	if q.file == "" || path.Ext(q.file) != ".go" {
		return nil
	}
	src, err := n.read(q.file)
	if err != nil {
		return nil // the check of the code says so
	}
	tree, lines, err := n.region(q, src)
	if err != nil {
		return err
	}
	ast.Inspect(tree, func(node ast.Node) bool {
		var names []*ast.Ident
		switch node := node.(type) {
		case *ast.FuncDecl:
			names = []*ast.Ident{node.Name}
		case *ast.TypeSpec:
			names = []*ast.Ident{node.Name}
		case *ast.ValueSpec:
			names = node.Names
		case *ast.Field:
			names = node.Names
			if embedded, ok := node.Type.(*ast.Ident); ok && len(names) == 0 {
				names = []*ast.Ident{embedded}
			}
		}
		for _, name := range names {
			if lines(name.Pos()) {
				met[name.Name] = true
			}
		}
		return true
	})
	return nil
}

var identifier = regexp.MustCompile(`[\pL_][\pL\pN_]*`)

// prose adds the names in c's code spans.
func (met introduction) prose(c *chapter) {
	c.walk(func(node md.Node) {
		if paragraph, ok := node.Parent().(*md.Paragraph); ok && quoted.Match(paragraph.Lines().Value(c.src)) {
			return // it says where a block is from
		}
		if span, ok := node.(*md.CodeSpan); ok {
			for text := span.FirstChild(); text != nil; text = text.NextSibling() {
				if text, ok := text.(*md.Text); ok {
					for _, name := range identifier.FindAllString(string(text.Segment.Value(c.src)), -1) {
						met[name] = true
					}
				}
			}
		}
	})
}

// region parses q's file, and returns a function that reports whether a position
// is in one of q's regions.
func (n *notes) region(q quote, src []byte) (*ast.File, func(token.Pos) bool, error) {
	found, _ := find(q.file, src, q.names)
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, q.file, src, parser.SkipObjectResolution)
	return tree, func(at token.Pos) bool {
		line := fset.Position(at).Line
		return slices.ContainsFunc(found, func(r region) bool {
			first, last := r.lines(src)
			return first <= line && line <= last
		})
	}, err
}

// load type-checks the packages of part.
func (n *notes) load(part string) ([]*packages.Package, error) {
	mode := packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports | packages.NeedExportFile
	loaded, err := packages.Load(&packages.Config{Mode: mode, Context: n.ctx, Dir: n.root}, "./"+part+"/...")
	for _, p := range loaded {
		if len(p.Errors) > 0 {
			return nil, fmt.Errorf("%s: %v", part, p.Errors[0])
		}
	}
	return loaded, err
}

// uses returns the names of declarations of the series that q's regions use:
// functions, types, variables, constants, methods and fields.
func (n *notes) uses(loaded []*packages.Package, q quote) (names []string) {
	src, err := n.read(q.file)
	if err != nil {
		return nil
	}
	found, _ := find(q.file, src, q.names)
	for _, p := range loaded {
		for id, object := range p.TypesInfo.Uses {
			at := p.Fset.Position(id.Pos())
			within := func(r region) bool { first, last := r.lines(src); return first <= at.Line && at.Line <= last }
			if file, err := filepath.Rel(n.root, at.Filename); err == nil && filepath.ToSlash(file) == q.file && slices.ContainsFunc(found, within) && ours(object) {
				names = append(names, id.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ours reports whether object is declared by the series, and not within a function.
func ours(object types.Object) bool {
	if object.Pkg() == nil || !strings.HasPrefix(object.Pkg().Path(), "socketup/") {
		return false
	}
	field, _ := object.(*types.Var)
	fn, _ := object.(*types.Func)
	_, pkg := object.(*types.PkgName)
	return !pkg && (object.Parent() == object.Pkg().Scope() || field != nil && field.IsField() || fn != nil)
}

var (
	testName = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
)

// checkTestNames wants every test that a page names to exist.
func (n *notes) checkTestNames() error {
	known := map[string]bool{}
	for _, part := range n.parts() {
		for _, file := range n.goFiles(part) {
			if !strings.HasSuffix(file, "_test.go") {
				continue
			}
			src, err := n.read(part + "/" + file)
			if err != nil {
				return err
			}
			for _, m := range testFunc.FindAllSubmatch(src, -1) {
				known[string(m[1])] = true
			}
		}
	}
	for _, c := range n.chapters {
		for _, m := range testName.FindAllSubmatchIndex(c.src, -1) {
			if name := string(c.src[m[2]:m[3]]); !known[name] {
				n.say(c, m[0], "there is no test %s", name)
			}
		}
	}
	return nil
}
