package main

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/yuin/goldmark/ast"
)

// checkLinks wants every relative link and image of the chapters and of the pages
// beside the code to lead to a file that exists, and to a heading that exists in it.
func checkLinks(n *notes) error {
	chapters := slices.Clone(n.chapters)
	for _, file := range slices.Concat(n.glob("*.md"), n.glob("part*/*.md")) {
		page, err := n.chapter(file)
		if err != nil {
			return err
		}
		chapters = append(chapters, page)
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
	page, err := target.html()
	if err == nil && !strings.Contains(page, `id="`+u.Fragment+`"`) {
		err = fmt.Errorf("the link %s leads to no heading of %s", to, file)
	}
	return err
}
