package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"socketup/part3-pipelining/server"
)

// The lab's resources:
//
//	GET  /lab.css, /lab.js                     what the page needs
//	POST /lab/run?experiment=NAME&SETTING=…    plays, and streams the events (text/event-stream)
//	POST /lab/run?…&format=json                plays, and responds with the result when it has ended
//	GET  /lab/result?id=N                      the result of a run that has ended
//
// A POST must have the field Lab: play. A page of another site cannot send it: the
// browser would ask the server first (CORS), and this one never agrees.

// Handler returns a handler for the lab's resources, which calls others for all other
// paths, and so for the page itself. It blocks for as long as a run takes.
func (l *Lab) Handler(others server.Handler) server.Handler {
	resources := map[string]func(w *server.Response, r *server.Request){
		"/lab.css":    static("text/css; charset=utf-8", CSS),
		"/lab.js":     static("text/javascript; charset=utf-8", JS),
		"/lab/run":    l.serveRun,
		"/lab/result": l.serveResult,
	}
	return func(w *server.Response, r *server.Request) {
		serve := resources[string(r.Path)]
		if serve == nil {
			others(w, r)
			return
		}
		allowed := "GET, HEAD"
		if string(r.Path) == "/lab/run" {
			allowed = "POST"
		}
		if status, why := refusal(r); status != 0 {
			w.Error(status, why)
		} else if !slices.Contains(strings.Split(allowed, ", "), string(r.Method)) {
			w.AddField("Allow", allowed)
			w.Error(405, "this resource has the methods "+allowed)
		} else {
			serve(w, r)
		}
	}
}

// refusal returns the status and the reason for refusing r, or 0. Only the lab's own page
// and programs on the reader's side may start an experiment. A page of another site can
// make the reader's browser send requests here; and if the name of that site resolves to
// this address (DNS rebinding), the browser takes both for one origin.
func refusal(r *server.Request) (status int, why string) {
	origin, site := string(r.Get("origin")), string(r.Get("sec-fetch-site"))
	switch {
	case !isLocal(string(r.Host)):
		return 421, "Host must be an IP address or localhost"
	case r.IsSafe():
		return 0, ""
	case origin != "" && origin != "http://"+string(r.Host):
		return 403, "only the lab's own page may start an experiment, and this request is from " + origin
	case site != "" && site != "same-origin" && site != "none":
		return 403, "only the lab's own page may start an experiment, and this request is from another site"
	case string(r.Get("lab")) != "play":
		return 403, "a request that starts an experiment must have the field Lab: play"
	}
	return 0, ""
}

// isLocal reports whether host, with or without a port, cannot be the name of another
// site.
func isLocal(host string) bool {
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		host = host[:colon]
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost")
}

// static returns a handler for a text that does not change.
func static(kind, text string) func(w *server.Response, r *server.Request) {
	return func(w *server.Response, r *server.Request) {
		w.AddField("Content-Type", kind)
		w.AddField("Cache-Control", "no-cache")
		w.SetLength(int64(len(text)))
		w.Status = 200
		if string(r.Method) != "HEAD" {
			w.WriteString(text)
		}
	}
}

// serveRun plays an experiment, and stops it when the client has gone.
func (l *Lab) serveRun(w *server.Response, r *server.Request) {
	query, err := url.ParseQuery(string(r.Query))
	if err != nil {
		w.Error(400, "the query cannot be read: "+err.Error())
		return
	}
	name, asJSON := query.Get("experiment"), query.Get("format") == "json"
	query.Del("experiment")
	query.Del("format")
	ctx, cancel := context.WithCancelCause(context.Background())
	run, err := l.Start(ctx, name, query)
	if errors.Is(err, ErrBusy) {
		w.Error(409, err.Error())
	} else if err != nil {
		w.Error(400, err.Error())
	} else {
		defer func() { cancel(errStopped); <-run.Ended() }()
		follow(w, run, asJSON)
	}
	cancel(nil)
}

// heartbeat is how often a stream that has nothing to say sends a comment: a server
// learns only from a write that its client has gone.
const heartbeat = 200 * time.Millisecond

// follow sends a run's events as they happen, each in a chunk of its own, and at the end
// its result. As JSON it sends spaces until then, which mean nothing ahead of a value. It
// returns early if the client has gone.
func follow(w *server.Response, run *Run, asJSON bool) {
	kind, alive := "text/event-stream", ": the run goes on\n\n"
	if asJSON {
		kind, alive = "application/json", " "
	}
	w.AddField("Content-Type", kind)
	w.AddField("Cache-Control", "no-store")
	w.WriteString(alive)
	timer := time.NewTicker(heartbeat)
	defer timer.Stop()
	for seen, ended := 0, false; w.Flush() == nil && !ended; {
		select {
		case <-run.More():
		case <-timer.C:
			w.WriteString(alive)
		case <-run.Ended():
			ended = true
		}
		if asJSON {
			continue
		}
		for _, e := range run.Next(seen) {
			seen++
			text, _ := json.Marshal(e) // strings and numbers: it cannot fail
			fmt.Fprintf(w, "data: %s\n\n", text)
		}
	}
	select {
	case <-run.Ended():
	default:
		return // the client has gone
	}
	result := run.Result()
	if asJSON {
		writeResult(w, result)
	} else {
		result.Events = nil // they have been sent
		text, _ := json.Marshal(result)
		fmt.Fprintf(w, "event: result\ndata: %s\n\n", text)
	}
	w.Flush()
}

func (l *Lab) serveResult(w *server.Response, r *server.Request) {
	query, _ := url.ParseQuery(string(r.Query))
	id, _ := strconv.Atoi(query.Get("id"))
	result, ok := l.Lookup(id)
	if !ok {
		w.Error(404, "there is no result with this number: the lab keeps the latest 20")
		return
	}
	w.AddField("Content-Type", "application/json")
	w.AddField("Cache-Control", "no-store")
	writeResult(w, result)
}

func writeResult(w *server.Response, result Result) {
	text, _ := json.MarshalIndent(result, "", "  ") // strings and numbers: it cannot fail
	w.Write(append(text, '\n'))
}
