package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// What a terminal can show: 80 columns, and colours if it and its user want them.

const columns = 80

// The colours of ECMA-48 that paint knows.
const (
	red     = 31
	green   = 32
	yellow  = 33
	magenta = 35
	cyan    = 36
)

// isTerminal reports whether w is a terminal that understands escape sequences.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if term := os.Getenv("TERM"); !ok || term == "" || term == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// paint returns text in a colour when w is a terminal and NO_COLOR is not set
// (no-color.org). Otherwise, and if color is 0, it returns text unchanged.
func paint(w io.Writer, color int, text string) string {
	if color == 0 || !isTerminal(w) || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", color, text)
}

// wrap breaks the lines of text, between words, where they have more than columns columns,
// and begins each new line with indent. A word that is longer has a line to itself.
func wrap(text, indent string) string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		out = append(out, wrapLine(line, indent)...)
	}
	return strings.Join(out, "\n")
}

func wrapLine(line, indent string) (lines []string) {
	begun := ""
	for i, word := range strings.Split(line, " ") {
		switch longer := begun + " " + word; {
		case i == 0:
			begun = word
		case utf8.RuneCountInString(longer) <= columns || strings.TrimSpace(begun) == "":
			begun = longer
		default:
			lines, begun = append(lines, begun), indent+word
		}
	}
	return append(lines, begun)
}
