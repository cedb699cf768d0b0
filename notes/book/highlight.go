package book

import (
	"fmt"
	"go/scanner"
	"go/token"
	"regexp"
	"strings"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/util"
)

// blocks renders fenced code. Five kinds of words have a colour, neighbours of the same
// kind are one element, and each kind has an element without a class, so that
// a chapter of two thousand lines stays small.
type blocks struct{}

// RegisterFuncs takes fenced code over from goldmark's own renderer.
func (blocks) RegisterFuncs(r renderer.NodeRendererFuncRegisterer) {
	r.Register(ast.KindFencedCodeBlock, renderFence)
}

func renderFence(w util.BufWriter, src []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	block := node.(*ast.FencedCodeBlock)
	lang := string(block.Language(src))
	code := string(block.Lines().Value(src))
	var body string
	switch lang {
	case "console":
		body = console(code)
	case "diff":
		body = differences(code)
	default:
		body = highlight(lang, code)
	}
	if lang == "" {
		lang = "text"
	}
	// A block may be wider than the page, and scrolls: the keyboard must reach it.
	_, err := fmt.Fprintf(w, "<pre class=\"%s\" tabindex=\"0\"><code>%s</code></pre>\n", escape(lang), body)
	return ast.WalkSkipChildren, err
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;")

func escape(s string) string { return escaper.Replace(s) }

var codeEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// prompt matches a command with the lines that continue it.
var prompt = regexp.MustCompile(`(?m)^\$ (?:.*\\\n)*.*$`)

// console sets what a reader types apart from what a program prints.
func console(code string) string {
	var b strings.Builder
	from := 0
	for _, at := range prompt.FindAllStringIndex(code, -1) {
		b.WriteString(codeEscaper.Replace(code[from:at[0]]))
		fmt.Fprintf(&b, `<i class="p">$ </i><b>%s</b>`, codeEscaper.Replace(code[at[0]+2:at[1]]))
		from = at[1]
	}
	b.WriteString(codeEscaper.Replace(code[from:]))
	return b.String()
}

// differences marks the lines that a diff adds and removes.
func differences(code string) string {
	var b strings.Builder
	for line := range strings.Lines(code) {
		text := codeEscaper.Replace(strings.TrimSuffix(line, "\n"))
		if element := map[byte]string{'+': "ins", '-': "del", '@': "i"}[line[0]]; element != "" {
			text = fmt.Sprintf("<%s>%s</%s>", element, text, element)
		}
		b.WriteString(text + "\n")
	}
	return b.String()
}

// highlight colours Go; other text is left as it is.
func highlight(lang, code string) string {
	if lang != "go" {
		return codeEscaper.Replace(code)
	}
	var s scanner.Scanner
	file := token.NewFileSet().AddFile("", -1, len(code))
	s.Init(file, []byte(code), nil, scanner.ScanComments)
	var b strings.Builder
	var now element
	start, end := 0, 0 // of the tokens of one kind so far
	flush := func(next int) {
		b.WriteString(now.open + codeEscaper.Replace(code[start:end]) + now.end + code[end:next])
		start = next
	}
	before := token.ILLEGAL
	for pos, kind, text := s.Scan(); kind != token.EOF; pos, kind, text = s.Scan() {
		if kind == token.SEMICOLON && text != ";" {
			before = kind // the scanner puts it at the end of a line
			continue
		}
		if kind.IsOperator() {
			text = kind.String()
		}
		at := file.Offset(pos)
		if is := elementOf(kind, before, strings.HasPrefix(code[at+len(text):], "(")); is != now {
			flush(at)
			now = is
		}
		end, before = at+len(text), kind
	}
	flush(len(code))
	return b.String()
}

// An element encloses the words of one kind.
type element struct{ open, end string }

var (
	keyword  = element{"<b>", "</b>"}
	comment  = element{"<i>", "</i>"}
	quotes   = element{"<u>", "</u>"}
	numeral  = element{"<var>", "</var>"}
	declared = element{"<dfn>", "</dfn>"}
)

// elementOf returns the element of a token that follows one of the kind before. called
// says that a parenthesis follows: a name is then that of a function.
func elementOf(kind, before token.Token, called bool) element {
	switch {
	case kind == token.COMMENT:
		return comment
	case kind == token.INT || kind == token.FLOAT || kind == token.IMAG:
		return numeral
	case kind == token.STRING || kind == token.CHAR:
		return quotes
	case kind.IsKeyword():
		return keyword
	case kind == token.IDENT && called && (before == token.FUNC || before == token.RPAREN):
		return declared
	}
	return element{}
}
