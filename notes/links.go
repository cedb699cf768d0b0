package main

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"unicode"

	"github.com/yuin/goldmark/ast"
)

// checkLinks wants every relative link and image of the chapters and of the
// README to lead to a file that exists, and to a heading that exists in it.
func checkLinks(n *notes) error {
	chapters := n.chapters
	if len(n.glob("README.md")) > 0 {
		readme, err := n.chapter("README.md")
		if err != nil {
			return err
		}
		chapters = append([]*chapter{readme}, chapters...)
	}
	links := 0
	for _, c := range chapters {
		c.walk(func(node ast.Node) {
			var to []byte
			switch node := node.(type) {
			case *ast.Link:
				to = node.Destination
			case *ast.Image:
				to = node.Destination
			default:
				return
			}
			links++
			if err := n.follow(c, string(to)); err != nil {
				n.say(c, node.Pos(), "%v", err)
			}
		})
	}
	n.sum("links: %d followed", links)
	return nil
}

// follow returns an error when the link to, in c, leads nowhere.
func (n *notes) follow(c *chapter, to string) error {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" {
		return err
	}
	file := c.file
	if strings.HasPrefix(u.Path, "/") {
		file = strings.TrimPrefix(u.Path, "/")
	} else if u.Path != "" {
		file = path.Join(path.Dir(c.file), u.Path)
	}
	if info, err := os.Stat(n.abs(file)); err != nil || strings.HasPrefix(file, "../") {
		return fmt.Errorf("the link %s leads to %s, which is not in the repository", to, file)
	} else if info.IsDir() || u.Fragment == "" || path.Ext(file) != ".md" {
		return nil
	}
	target, err := n.chapter(file)
	if err != nil {
		return err
	}
	if anchors := target.anchors(); !anchors[u.Fragment] {
		return fmt.Errorf("the link %s leads to no heading of %s", to, file)
	}
	return nil
}

// explicit matches an anchor written as HTML.
var explicit = regexp.MustCompile(`<[a-z]+[^>]*\s(?:id|name)="([^"]+)"`)

// anchors returns what a link to c can have after the #, by GitHub's rules.
func (c *chapter) anchors() map[string]bool {
	anchors := map[string]bool{}
	for _, m := range explicit.FindAllSubmatch(c.src, -1) {
		anchors[string(m[1])] = true
	}
	seen := map[string]int{}
	c.walk(func(node ast.Node) {
		heading, ok := node.(*ast.Heading)
		if !ok {
			return
		}
		slug := slug(plain(heading, c.src))
		if times := seen[slug]; times > 0 {
			anchors[fmt.Sprintf("%s-%d", slug, times)] = true
		} else {
			anchors[slug] = true
		}
		seen[slug]++
	})
	return anchors
}

// slug is what GitHub makes of a heading's text.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// plain returns the text of node without its marks.
func plain(node ast.Node, src []byte) string {
	var b strings.Builder
	for child := node.FirstChild(); child != nil; child = child.NextSibling() {
		switch child := child.(type) {
		case *ast.Text:
			b.Write(child.Segment.Value(src))
			if child.SoftLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.String:
			b.Write(child.Value)
		default:
			b.WriteString(plain(child, src))
		}
	}
	return b.String()
}
