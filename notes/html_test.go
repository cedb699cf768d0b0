package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPageLinksToPages(t *testing.T) {
	html, err := parseChapter("a.md", []byte("# A & B\n\n[one](01-hello.md#the-end) [index](README.md) [code](../part1-hello/server.go) [rfc](https://example.org/x.md)\n\n## The end\n\n```go\nfunc f()\n```\n")).page()

	require.NoError(t, err)
	text := string(html)
	assert.Contains(t, text, "<title>A &amp; B</title>")
	assert.Contains(t, text, `<a href="01-hello.html#the-end">one</a> <a href="index.html">index</a> code <a href="https://example.org/x.md">rfc</a>`)
	assert.Contains(t, text, `<h2 id="the-end">`)
	assert.Contains(t, text, `<span class="kd">func</span>`)
}
