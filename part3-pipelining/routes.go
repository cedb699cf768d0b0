package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"socketup/part3-pipelining/server"
)

// The routes of the server: a greeting, an echo, a sleep and a stream. Each shows
// one kind of response: fixed length, after a body, late, chunked.

// A route is a path, its methods and its handler. A path that ends in a slash
// matches every path that begins with it.
type route struct {
	path    string
	methods []string
	handle  func(w *server.Response, r *server.Request, rest []byte) // rest: the request path after the route's path
}

// knownMethods are the methods that get 405 where they are not allowed; any
// other method gets 501 (RFC 9110 §9.1).
var knownMethods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"}

const maxSleep = 60 * time.Second

func routes(extra ...route) server.Handler {
	read, write := []string{"GET", "HEAD"}, []string{"POST", "PUT"}
	all := append([]route{
		{"/", read, hello},
		{"/echo", write, echo},
		{"/sleep/", []string{"GET", "HEAD", "POST"}, sleep}, // a POST that takes its time
		{"/stream/", read, stream},
	}, extra...)
	return func(w *server.Response, r *server.Request) { dispatch(w, r, all) }
}

// dispatch calls the handler of the first route that matches the path and has
// the method; it responds 404, 405 or 501 when there is none.
func dispatch(w *server.Response, r *server.Request, all []route) {
	if string(r.Path) == "*" {
		respondAllow(w, allMethods(all))
		return
	}
	for i := range all {
		rest, found := bytes.CutPrefix(r.Path, []byte(all[i].path))
		if found && (len(rest) == 0 || len(all[i].path) > 1 && all[i].path[len(all[i].path)-1] == '/') {
			all[i].serve(w, r, rest)
			return
		}
	}
	if !slices.Contains(knownMethods, string(r.Method)) {
		w.Error(501, "the method "+string(r.Method)+" is not implemented")
		return
	}
	w.Error(404, "nothing is at "+string(r.Path))
}

func (t *route) serve(w *server.Response, r *server.Request, rest []byte) {
	for _, m := range t.methods {
		if m == string(r.Method) {
			t.handle(w, r, rest)
			return
		}
	}
	switch {
	case string(r.Method) == "OPTIONS":
		respondAllow(w, t.methods)
	case slices.Contains(knownMethods, string(r.Method)):
		w.AddField("Allow", strings.Join(t.methods, ", ")+", OPTIONS")
		w.Error(405, "allowed methods: "+strings.Join(t.methods, ", "))
	default:
		w.Error(501, "the method "+string(r.Method)+" is not implemented")
	}
}

// allMethods returns the methods that at least one route has, in the order of
// knownMethods.
func allMethods(all []route) (methods []string) {
	for _, m := range knownMethods {
		if slices.ContainsFunc(all, func(t route) bool { return slices.Contains(t.methods, m) }) {
			methods = append(methods, m)
		}
	}
	return methods
}

func respondAllow(w *server.Response, methods []string) {
	w.Status = 204
	w.AddField("Allow", strings.Join(methods, ", ")+", OPTIONS")
}

func hello(w *server.Response, _ *server.Request, _ []byte) {
	w.SetPlainText()
	w.WriteString("Hello, World!\n")
}

// echo reads the whole body before it responds: a client that reads only after
// it has written everything would otherwise wait for the server while the
// server waits for the client.
func echo(w *server.Response, r *server.Request, _ []byte) {
	body, err := r.Body.ReadAll()
	if err != nil {
		return // the server sends the error response
	}
	kind := "application/octet-stream" // the request named no type
	if told := r.Get("content-type"); len(told) > 0 {
		kind = string(told)
	}
	w.AddField("Content-Type", kind)
	w.SetLength(int64(len(body)))
	w.Write(body)
}

func sleep(w *server.Response, _ *server.Request, rest []byte) {
	d, err := time.ParseDuration(string(rest))
	if err != nil || d < 0 || d > maxSleep {
		w.Error(400, "want a duration up to 60s, such as /sleep/250ms")
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.Done():
	}
	w.SetPlainText()
	fmt.Fprintf(w, "slept %s\n", rest)
}

func stream(w *server.Response, _ *server.Request, rest []byte) {
	n, err := strconv.Atoi(string(rest))
	if err != nil || n < 0 || n > 1e6 {
		w.Error(400, "want a number of lines up to 1000000, such as /stream/10")
		return
	}
	w.SetPlainText()
	for i := range n {
		fmt.Fprintf(w, "line %d\n", i+1)
		if w.Flush() != nil {
			return // the client has gone
		}
	}
	w.Flush() // chunked even when n is 0
}
