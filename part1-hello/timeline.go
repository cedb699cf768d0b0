package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// An event is one thing that happened in an experiment: when, who did what, and
// to whom, if it was a message.
type event struct {
	Experiment string  `json:"experiment,omitempty"` // its name, when it is printed among others
	US         float64 `json:"us"`                   // microseconds since the timeline was made; printed: since its first event
	Who        string  `json:"who"`
	What       string  `json:"what"`
	To         string  `json:"to,omitempty"`
}

// A timeline collects events from several goroutines and prints them in the
// order of their times.
type timeline struct {
	experiment string // its name, or ""
	start      time.Time
	mu         sync.Mutex // guards events
	events     []event
}

func newTimeline() *timeline { return &timeline{start: time.Now()} }

// record adds an event: who did what, at the time at. to is the receiver of a
// message, or "".
func (t *timeline) record(at time.Time, who, what, to string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, event{t.experiment, float64(at.Sub(t.start).Nanoseconds()) / 1e3, who, what, to})
}

// print writes one line for each event, in order of time: a JSON object with
// asJSON, otherwise time, who and what in columns.
func (t *timeline) print(w io.Writer, asJSON bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortStableFunc(t.events, func(a, b event) int {
		return int(a.US*1e3) - int(b.US*1e3)
	})
	for _, e := range t.events {
		e.US = math.Round((e.US-t.events[0].US)*1e3) / 1e3
		if asJSON {
			printJSON(w, e)
			continue
		}
		begin := fmt.Sprintf("%10.3f ms  %-8s  ", e.US/1e3, e.Who)
		what := wrap(begin+e.What, strings.Repeat(" ", len(begin)))[len(begin):]
		fmt.Fprintf(w, "%10.3f ms  %s  %s\n", e.US/1e3, colored(w, e.Who), highlight(w, what))
	}
}

// printJSON writes v, which has strings and numbers, as one line.
func printJSON(w io.Writer, v any) {
	line, _ := json.Marshal(v) // cannot fail
	fmt.Fprintf(w, "%s\n", line)
}

// audiences returns where an experiment writes what people read, and where it writes
// JSON: one of them is stdout, the other leads nowhere.
func audiences(stdout io.Writer, asJSON bool) (people, programs io.Writer) {
	if asJSON {
		return io.Discard, stdout
	}
	return stdout, io.Discard
}

// colored returns who in its column's colour (paint).
func colored(w io.Writer, who string) string {
	colors := map[string]int{"client": cyan, "server": yellow, "kernel": magenta}
	return paint(w, colors[strings.Fields(who + " ?")[0]], fmt.Sprintf("%-8s", who))
}

// alarming matches the words for a failure or an ignored packet.
var alarming = regexp.MustCompile(`FULL|ignores a SYN|[1-9][0-9]* ignored|gives up|nothing comes back|the answer is lost|RST|DIFFERS`)

// highlight returns text with what is alarming in it in red (paint).
func highlight(w io.Writer, text string) string {
	return alarming.ReplaceAllStringFunc(text, func(found string) string { return paint(w, red, found) })
}
