package main

import (
	"fmt"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"
)

const howToQuote = "write the paragraph `FILE`, `REGION` above the block, or ```%s sketch for code that is in no part"

// checkCode compares the blocks that quote regions of files with the files.
func checkCode(n *notes) error {
	blocks := 0
	for _, c := range n.chapters {
		fences, inner := c.fences()
		for _, offset := range inner {
			n.say(c, offset, "a block inside a list or quotation is not checked: move it to the left edge")
		}
		for _, f := range fences {
			switch {
			case f.lang == "console" || f.info == "sketch":
			case f.about.file != "":
				blocks++
				n.checkQuote(c, f)
			case f.lang == "go" || f.lang == "diff":
				n.say(c, f.start-1, "whose code is this? "+howToQuote, f.lang)
			}
		}
	}
	n.sum("code: %d blocks quote the parts", blocks)
	return nil
}

func (n *notes) checkQuote(c *chapter, f fence) {
	text, err := n.quoted(f.about)
	if f.lang == "diff" {
		text, err = n.quotedDiff(f.about)
	}
	if err != nil {
		n.say(c, f.start-1, "%v", err)
		return
	}
	n.want(c, f.start, f.end, text, f.about.String())
}

// quoted returns the source of q's regions, joined by blank lines.
func (r repo) quoted(q quote) (string, error) {
	src, err := r.read(q.file)
	if err != nil {
		return "", err
	}
	found, err := find(q.file, src, q.names)
	var texts []string
	for _, region := range found {
		texts = append(texts, region.text(src))
	}
	return strings.Join(texts, "\n"), err
}

// quotedDiff returns what the part of q's file changes in q's regions, as a
// unified diff with the line numbers of the two files.
func (r repo) quotedDiff(q quote) (string, error) {
	part, file := partAndFile(q.file)
	before := r.previous(part)
	if before == "" {
		return "", fmt.Errorf("%s is in no part that has one before it: quote it as ```go", q.file)
	}
	src, err := r.read(q.file)
	if err != nil {
		return "", err
	}
	var old []byte
	if was := forerunner(file, r.goFiles(part), r.goFiles(before)); was != "" {
		if old, err = r.read(before + "/" + was); err != nil {
			return "", err
		}
	}
	var b strings.Builder
	for _, name := range q.names {
		fragments, err := regionDiff(q.file, name, old, src)
		if err != nil {
			return "", err
		}
		for _, f := range fragments {
			b.WriteString(f.String())
		}
	}
	if b.Len() == 0 {
		return "", fmt.Errorf("%s is carried over unchanged from %s: there is no diff to show", q, before)
	}
	return b.String(), nil
}

// regionDiff compares one region of two versions of a file. It may be missing
// in one of them.
func regionDiff(file, name string, old, src []byte) ([]*gitdiff.TextFragment, error) {
	names := []string{name}
	is, err := find(file, src, names)
	was, errOld := find(file, old, names)
	if err != nil && errOld != nil {
		return nil, err
	}
	a, oldFirst := stretch(was, old)
	b, newFirst := stretch(is, src)
	fragments, err := diff(a, b, 3)
	for _, f := range fragments {
		f.OldPosition += int64(oldFirst)
		f.NewPosition += int64(newFirst)
	}
	return fragments, err
}

// stretch returns the bytes of the first region, if there is one, and how
// many lines of src come before it.
func stretch(found []region, src []byte) ([]byte, int) {
	if len(found) == 0 {
		return nil, 0
	}
	first, _ := found[0].lines(src)
	return src[found[0].start:found[0].end], first - 1
}
