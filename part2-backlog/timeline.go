package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// An event is one thing that happened in an experiment: when, who did what, and
// to whom, if it was a message.
type event struct {
	US   float64 `json:"us"` // microseconds since the timeline was made; printed: since its first event
	Who  string  `json:"who"`
	What string  `json:"what"`
	To   string  `json:"to,omitempty"`
}

// A timeline collects events from several goroutines and prints them in the
// order of their times.
type timeline struct {
	start  time.Time
	mu     sync.Mutex // guards events
	events []event
}

func newTimeline() *timeline { return &timeline{start: time.Now()} }

// record adds an event: who did what, at the time at. to is the receiver of a
// message, or "".
func (t *timeline) record(at time.Time, who, what, to string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, event{float64(at.Sub(t.start).Nanoseconds()) / 1e3, who, what, to})
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
		e.US -= t.events[0].US
		if asJSON {
			line, _ := json.Marshal(e) // cannot fail: strings and a number
			fmt.Fprintf(w, "%s\n", line)
			continue
		}
		fmt.Fprintf(w, "%10.3f ms  %s  %s\n", e.US/1e3, colored(w, e.Who), e.What)
	}
}

// colored returns who in its column's colour when w is a terminal and NO_COLOR
// is not set (no-color.org).
func colored(w io.Writer, who string) string {
	padded := fmt.Sprintf("%-8s", who)
	if !isTerminal(w) || os.Getenv("NO_COLOR") != "" {
		return padded
	}
	colors := map[string]int{"client": 36, "server": 33, "kernel": 35}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colors[strings.Fields(who + " ?")[0]], padded)
}

// isTerminal reports whether w is a terminal that understands escape sequences.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if term := os.Getenv("TERM"); !ok || term == "" || term == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
