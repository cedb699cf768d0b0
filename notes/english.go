package main

import (
	"regexp"
	"strings"
)

// stilted are the expressions that a copy editor removed most often: sentences
// without an actor, persons in place of programs, and words of time that are words of
// place. What to write instead is up to the author.
var stilted = regexp.MustCompile(`(?i)\b(whoever|somebody|nobody|had better|in vain|as it were|goes on|at once|in hand|of its own accord)\b`)

// checkEnglish wants none of them in the prose. Planted bugs' names and what users say
// of them are set as code or in italics, and are left alone.
func checkEnglish(n *notes) error {
	for _, c := range n.chapters {
		fences, _ := c.fences()
		from := 0
		for _, f := range append(fences, fence{start: len(c.src), end: len(c.src)}) {
			text := quotedProse.ReplaceAllStringFunc(string(c.src[from:f.start]), func(s string) string { return strings.Repeat(" ", len(s)) })
			for _, m := range stilted.FindAllStringIndex(text, -1) {
				n.say(c, from+m[0], "%q: name who does it, or what happens when", text[m[0]:m[1]])
			}
			from = f.end
		}
	}
	n.sum("english: %d pages read", len(n.chapters))
	return nil
}

// quotedProse is code, a figure's description, a link's address, a user's words.
var quotedProse = regexp.MustCompile("`[^`\n]*`|!\\[[^]]*\\]|\\]\\([^)]*\\)|(?m)^- \\*[^*]*\\*|\"[^\"\n]*\"")
