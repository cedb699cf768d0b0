package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

// A recording is what happened in one run: a JSON value for the whole, and one for each
// event:
//
//	{"title": "Hello", "alt": "…", "columns": ["client", "server"], "recorded": "Linux 6.18, 2026-11-20"}
//	{"us": 12.5, "who": "client", "what": "connect(3)", "to": "server"}
type recording struct {
	Title, Alt, Recorded string
	Columns              []string
	Omit                 []string // events that the figure leaves out: what happened, word for word
	events               []event
}

// An event happened in the column Who, or went from there to the column To.
type event struct {
	Us            float64 // microseconds since the start
	Who, What, To string
}

// parseRecording reads a run. An error names the value, counted from 1; a run has one
// a line.
func parseRecording(src []byte) (*recording, error) {
	rec := &recording{}
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	err := d.Decode(rec)
	for err == nil && d.More() {
		var e event
		if err = d.Decode(&e); err == nil {
			err = rec.add(e)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", 1+bytes.Count(src[:d.InputOffset()], []byte("\n")), err)
	}
	if len(rec.events) == 0 {
		return nil, fmt.Errorf("no events")
	}
	slices.SortStableFunc(rec.events, func(a, b event) int { return cmp.Compare(a.Us, b.Us) })
	return rec, nil
}

func (rec *recording) add(e event) error {
	if e.To == e.Who {
		e.To = ""
	}
	for _, column := range []string{e.Who, e.To} {
		if !slices.Contains(rec.Columns, column) && (column != "" || e.Who == "") {
			return fmt.Errorf("%q is none of the columns %s", column, strings.Join(rec.Columns, ", "))
		}
	}
	if slices.Contains(rec.Omit, e.What) {
		return nil
	}
	e.What = fold(e.What)
	rec.events = append(rec.events, e)
	return nil
}

// clock writes a time as a person would.
func clock(us float64) string {
	switch {
	case us < 0.05:
		return "0 µs"
	case us < 99.95:
		return fmt.Sprintf("%.1f µs", us)
	case us < 999.5:
		return fmt.Sprintf("%.0f µs", us)
	case us < 999_500:
		return fmt.Sprintf("%.2f ms", us/1e3)
	}
	return fmt.Sprintf("%.3f s", us/1e6)
}

// drawing is the SVG of what is in file: a ladder of the events of a run (NAME.jsonl), a
// chart of its numbers (NAME.plot.json), a drawing in text (NAME.txt), or the tables of
// moves in the code (NAME.states.json).
func drawing(r repo, file string, src []byte) (string, error) {
	switch _, kind, _ := strings.Cut(path.Base(file), "."); kind {
	case "plot.json":
		c, err := parseChart(src)
		if err != nil {
			return "", err
		}
		return c.draw(), nil
	case "txt":
		s, err := parseSketch(string(src))
		if err != nil {
			return "", err
		}
		return s.draw(), nil
	case "states.json":
		return drawMachine(r, src)
	}
	rec, err := parseRecording(src)
	if err != nil {
		return "", err
	}
	return rec.draw(), nil
}

// checkFigures compares figures/NAME.svg with what its source NAME draws.
func checkFigures(n *notes) error {
	var sources []string
	for _, kind := range []string{"runs/*.jsonl", "runs/*.plot.json", "figures/*.txt", "figures/*.states.json"} {
		sources = append(sources, n.glob("notes/"+kind)...)
	}
	for _, source := range sources {
		src, err := n.read(source)
		if err != nil {
			return err
		}
		drawn, err := drawing(n.repo, source, src)
		if err != nil {
			n.findings = append(n.findings, finding{source, 1, err.Error(), nil})
			continue
		}
		name, _, _ := strings.Cut(path.Base(source), ".")
		file := "notes/figures/" + name + ".svg"
		was, err := os.ReadFile(n.abs(file))
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		if drawn != string(was) {
			n.findings = append(n.findings, finding{file, 1, "not as drawn from " + source, &edit{0, string(was), drawn}})
		}
	}
	n.sum("figures: %d drawn", len(sources))
	return nil
}
