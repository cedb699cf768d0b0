package lab

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// An experiment is one tab of the page.
type experiment struct {
	Name     string
	Title    string
	About    string    // what happens, in two or three sentences
	Settings []setting // what the reader chooses
	Predict  setting   // what the reader predicts
	Parts    func(values) []string
	play     func(ctx context.Context, r *Run, v values) (outcome, error)
}

// A setting is a slider or, with choices, a list.
type setting struct {
	Name, Label   string
	Low, High     int
	Step, Default int
	Choices       []string // Low to High are their indexes
	One, Many     string   // what the sentence says of 1 and of more of them: "clients were answered"
}

// values are the settings of a run by name. A choice is its index.
type values map[string]int

// An outcome is what an experiment showed.
type outcome struct {
	was  int    // what was predicted
	text string // the sentence about the rest
}

// experiments are the tabs in their order.
var experiments = []*experiment{&closing, &backlog, &pipeline, &pooling}

// find returns the experiment with that name, or nil.
func find(name string) *experiment {
	for _, e := range experiments {
		if e.Name == name {
			return e
		}
	}
	return nil
}

// parse reads the settings from a query. What is missing has its default. said is the
// prediction, and nil if the query has none. The error is a sentence for the reader.
func (e *experiment) parse(query url.Values) (v values, said *int, err error) {
	v = values{}
	for _, s := range e.Settings {
		v[s.Name] = s.Default
	}
	for name, texts := range query {
		if name == e.Predict.Name {
			n, err := e.Predict.parse(texts[0])
			if err != nil {
				return nil, nil, err
			}
			said = &n
			continue
		}
		at := slices.IndexFunc(e.Settings, func(s setting) bool { return s.Name == name })
		if at < 0 {
			return nil, nil, fmt.Errorf("the experiment %s has no setting %q; it has %s", e.Name, name, e.names())
		}
		if v[name], err = e.Settings[at].parse(texts[0]); err != nil {
			return nil, nil, err
		}
	}
	return v, said, nil
}

func (e *experiment) names() string {
	var all []string
	for _, s := range e.Settings {
		all = append(all, s.Name)
	}
	return strings.Join(append(all, e.Predict.Name), ", ")
}

func (s setting) parse(text string) (int, error) {
	if len(s.Choices) > 0 {
		if at := slices.Index(s.Choices, text); at >= 0 {
			return at, nil
		}
		return 0, fmt.Errorf("%s: want one of %s", s.Name, strings.Join(s.Choices, ", "))
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < s.Low || n > s.High {
		return 0, fmt.Errorf("%s: want a number from %d to %d", s.Name, s.Low, s.High)
	}
	return n, nil
}

// show is the inverse of parse.
func (s setting) show(n int) string {
	if len(s.Choices) > 0 {
		return s.Choices[n]
	}
	return strconv.Itoa(n)
}

// Command returns the command that plays the experiment in a terminal, from the top of
// the repository.
func (e *experiment) Command(v values) string {
	line := "go -C notes run ./lab/serve play " + e.Name
	for _, s := range e.Settings {
		line += " " + s.Name + "=" + s.show(v[s.Name])
	}
	return line
}

// sentence is what the page says when a run has ended.
func (e *experiment) sentence(said *int, o outcome) string {
	was := plural(o.was, e.Predict.One, e.Predict.Many) + ". " + o.text
	if said == nil {
		return was
	}
	return fmt.Sprintf("You said %d; %s", *said, was)
}
