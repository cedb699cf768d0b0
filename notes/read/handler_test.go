package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/notes/lab"
)

func fetch(t *testing.T, method, at string, fields http.Header) (*http.Response, string) {
	request, err := http.NewRequestWithContext(t.Context(), method, at, nil)
	require.NoError(t, err)
	request.Header = fields
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, string(body)
}

func TestTopIsTheBook(t *testing.T) {
	top := serveBook(t)

	response, body := fetch(t, "GET", top, nil)

	assert.Equal(t, "text/html; charset=utf-8", response.Header.Get("Content-Type"))
	assert.Contains(t, body, "<h1 id=\"http-from-the-socket-up\">HTTP, from the socket up</h1>")
	assert.Contains(t, body, "Your browser got this page from the server of part 3")
}

func TestPageThatTheBrowserHasIsNotSentAgain(t *testing.T) {
	top := serveBook(t)
	first, _ := fetch(t, "GET", top+"book.css", nil)

	again, body := fetch(t, "GET", top+"book.css", http.Header{"If-None-Match": {first.Header.Get("ETag")}})

	assert.Equal(t, 304, again.StatusCode)
	assert.Empty(t, body)
}

func TestOtherPathsAndMethods(t *testing.T) {
	top := serveBook(t)
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"HEAD", "01-hello.html", 200},
		{"GET", "src/part1-hello/server.go.html", 200},
		{"GET", "figures/one-connection.svg", 200},
		{"GET", "src/../go.mod", 404},
		{"GET", "no-such-page.html", 404},
		{"POST", "index.html", 405},
	} {
		response, _ := fetch(t, c.method, top+c.path, nil)
		assert.Equal(t, c.status, response.StatusCode, "%s /%s", c.method, c.path)
	}
}

// The book's server plays the lab's experiments too.
func TestLabPlaysThroughTheBooksServer(t *testing.T) {
	top := serveBook(t)
	_, page := fetch(t, "GET", top+"lab.html", nil)
	assert.Contains(t, page, `id="lab-close"`)

	response, body := fetch(t, "POST", top+"lab/run?experiment=close&unread=0&clients=2&said=1&format=json", http.Header{"Lab": {"play"}})

	assert.Equal(t, 200, response.StatusCode)
	var result lab.Result
	require.NoError(t, json.Unmarshal([]byte(body), &result), body)
	assert.Equal(t, "You said 1; 2 responses were whole. 0 of 2 connections were reset.", result.Sentence)
	_, kept := fetch(t, "GET", fmt.Sprintf("%slab/result?id=%d", top, result.ID), nil)
	assert.Equal(t, strings.TrimSpace(body), strings.TrimSpace(kept))
}

func TestFolderNeedsNoServer(t *testing.T) {
	dir := t.TempDir()
	var said strings.Builder

	code := run([]string{"-root", "../..", "-to", dir}, &said, io.Discard)

	assert.Zero(t, code)
	assert.Contains(t, said.String(), "the book is in file://"+dir)
	index, err := os.ReadFile(filepath.Join(dir, "index.html"))
	require.NoError(t, err)
	assert.Contains(t, string(index), "These pages need no server.")
	assert.NotContains(t, string(index), "Your browser got this page from")
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		blames string
	}{
		{[]string{"-no"}, 2, "flag provided but not defined: -no"},
		{[]string{"html"}, 2, `unexpected argument "html"`},
		{[]string{"-root", "/", "-to", t.TempDir()}, 1, "README.md"},
	} {
		var out, wrong strings.Builder

		assert.Equal(t, c.status, run(c.args, &out, &wrong))

		assert.Empty(t, out.String())
		assert.Contains(t, wrong.String(), c.blames)
		assert.Regexp(t, `^read: .+\n$`, wrong.String(), "one sentence, by the program's own name")
	}
}

func TestHelpNamesEveryFlagIn80Columns(t *testing.T) {
	var out, wrong strings.Builder

	assert.Zero(t, run([]string{"-h"}, &out, &wrong))

	assert.Empty(t, wrong.String())
	for line := range strings.Lines(out.String()) {
		assert.LessOrEqual(t, len(line), 81, line)
	}
	for _, flag := range []string{"-root", "-addr", "-to"} {
		assert.Contains(t, out.String(), "\n  "+flag)
	}
}
