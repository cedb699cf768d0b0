package book

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/alecthomas/chroma/v2"
	"github.com/alecthomas/chroma/v2/lexers"
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

// highlight colours code in a language that chroma knows; other text is left as it is.
func highlight(lang, code string) string {
	lexer := lexers.Get(lang)
	if lexer == nil || lang == "text" || lang == "" || code == "" { // a lexer would add a line to nothing
		return codeEscaper.Replace(code)
	}
	tokens, err := lexer.Tokenise(nil, code)
	if err != nil {
		return codeEscaper.Replace(code)
	}
	var b strings.Builder
	var run, blank string // tokens of one kind so far, and the blanks after them
	var now element
	flush := func() {
		b.WriteString(now.open + codeEscaper.Replace(run) + now.end + blank)
		run, blank = "", ""
	}
	before := ""
	for _, token := range tokens.Tokens() {
		text := token.Value
		if strings.TrimSpace(text) == "" {
			blank += text
			continue
		}
		if is := elementOf(token.Type, before); is != now {
			flush()
			now = is
		}
		body := strings.TrimRight(text, "\n")
		run, blank = run+blank+body, text[len(body):]
		before = text
	}
	flush()
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

// elementOf returns the element of a token that follows the word before.
func elementOf(t chroma.TokenType, before string) element {
	switch {
	case t.InCategory(chroma.Comment):
		return comment
	case t.InSubCategory(chroma.LiteralNumber):
		return numeral
	case t == chroma.KeywordType || t == chroma.KeywordConstant:
		return element{}
	case t.InCategory(chroma.Keyword):
		return keyword
	case t.InSubCategory(chroma.LiteralString):
		return quotes
	case t == chroma.NameFunction && (before == "func" || before == ")"):
		return declared
	}
	return element{}
}
