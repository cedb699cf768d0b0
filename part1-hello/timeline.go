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

// An event is one thing that happened in an experiment: when, to whom, what,
// and whom it went to, if it was a message.
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

// record records that what happened to who at the time at.
func (t *timeline) record(at time.Time, who, what, to string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, event{float64(at.Sub(t.start).Nanoseconds()) / 1e3, who, what, to})
}

// print writes a line for each event; a person reads time, who, what.
func (t *timeline) print(w io.Writer, asJSON bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortStableFunc(t.events, func(a, b event) int {
		return int(a.US*1e3) - int(b.US*1e3)
	})
	for _, e := range t.events {
		e.US -= t.events[0].US
		if asJSON {
			line, _ := json.Marshal(e) // strings and a number: it cannot fail
			fmt.Fprintf(w, "%s\n", line)
			continue
		}
		fmt.Fprintf(w, "%10.3f ms  %s  %s\n", e.US/1e3, colored(w, e.Who), e.What)
	}
}

// colored gives each column its colour, on a terminal whose owner has not said
// NO_COLOR (no-color.org).
func colored(w io.Writer, who string) string {
	padded := fmt.Sprintf("%-8s", who)
	if !isTerminal(w) || os.Getenv("NO_COLOR") != "" {
		return padded
	}
	colors := map[string]int{"client": 36, "server": 33, "kernel": 35}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colors[strings.Fields(who + " ?")[0]], padded)
}

// isTerminal says whether w is a terminal that knows escape sequences.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if term := os.Getenv("TERM"); !ok || term == "" || term == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
