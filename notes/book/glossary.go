package book

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
)

// A term is an entry of the glossary.
type term struct {
	id    string // of its paragraph
	about string // its explanation's first sentence
}

// terms are the glossary, by every name that an entry has.
type terms struct {
	byName map[string]term
	find   *regexp.Regexp // any of the names, or its plural
}

// everyday are terms that are also everyday words. They are links where the text sets
// them in italics, which says that the term is meant.
var everyday = []string{"line", "window", "target", "job", "credit", "idle", "lease", "lane", "leader", "follower", "future",
	"generation", "head", "field", "permit", "reset", "driver", "pool", "slot", "engine", "exchange", "registry"}

// isEveryday reports whether name, or what it is the plural of, is such a term.
func isEveryday(name string) bool {
	name = strings.ToLower(name)
	return slices.Contains(everyday, name) || slices.Contains(everyday, strings.TrimSuffix(name, "s"))
}

// readTerms reads the glossary's paragraphs: bold names, a full stop, an explanation.
// It gives each paragraph an id.
func readTerms(tree ast.Node, src []byte) *terms {
	all := &terms{byName: map[string]term{}}
	var names []string
	for node := tree.FirstChild(); node != nil; node = node.NextSibling() {
		bold, ok := node.FirstChild().(*ast.Emphasis)
		if !ok || bold.Level != 2 {
			continue
		}
		called := strings.TrimSuffix(plain(bold, src), ".")
		about := strings.TrimSpace(strings.TrimPrefix(plain(node, src), called+"."))
		if end := strings.Index(about, ". "); end >= 0 && strings.HasPrefix(about, "Of ") || end > 20 {
			about = about[:end+1]
		}
		id := "term-" + strings.ReplaceAll(strings.ToLower(strings.Split(called, ",")[0]), " ", "-")
		node.SetAttributeString("id", []byte(id))
		for _, name := range strings.Split(called, ", ") {
			all.byName[strings.ToLower(name)] = term{id, about}
			names = append(names, pattern(name))
		}
	}
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	all.find = regexp.MustCompile(`(?:` + strings.Join(names, "|") + `)(?:e?s)?\b`)
	return all
}

// pattern matches name, which may begin a sentence.
func pattern(name string) string {
	first, size := utf8.DecodeRuneInString(name)
	if !unicode.IsLower(first) {
		return `\b` + regexp.QuoteMeta(name)
	}
	return `\b[` + string(first) + string(unicode.ToUpper(first)) + `]` + regexp.QuoteMeta(name[size:])
}

// named returns the entry for a name as it stands in a text, and whether there is one.
func (t *terms) named(text string) (term, bool) {
	name := strings.ToLower(text)
	for _, form := range []string{name, strings.TrimSuffix(name, "s"), strings.TrimSuffix(name, "es")} {
		if entry, ok := t.byName[form]; ok {
			return entry, true
		}
	}
	return term{}, false
}
