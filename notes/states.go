package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// A machine is a figure of state machines, in figures/NAME.states.json: the moves come
// from the tables in the code, the words from here. A state without words, or words
// without a state, are errors, so that the figure cannot say what the code does not.
type machine struct {
	Title, Alt string
	File       string // of the tables
	Tables     []table
}

// A table is one state machine.
type table struct {
	Moves  string            // the variable that holds them: state: 1<<next | …, or state: {next, …}
	Title  string            // above its states
	States map[string]string // what each means
	Names  string            // what the states' names begin with, left out in the figure
}

// A move leads from one state to another; both are in the order of the table.
type move struct{ from, to int }

// readMoves returns the states of the table in file, in its order, and its moves.
func readMoves(file string, src []byte, name string) (states []string, moves []move, err error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, src, 0)
	if err != nil {
		return nil, nil, err
	}
	var rows []ast.Expr
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && spec.Names[0].Name == name && len(spec.Values) == 1 {
			if literal, ok := spec.Values[0].(*ast.CompositeLit); ok {
				rows = literal.Elts
			}
		}
		return true
	})
	for _, row := range rows {
		states = append(states, row.(*ast.KeyValueExpr).Key.(*ast.Ident).Name)
	}
	for from, row := range rows {
		ast.Inspect(row.(*ast.KeyValueExpr).Value, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				moves = append(moves, move{from, slices.Index(states, id.Name)})
			}
			return true
		})
	}
	if len(states) == 0 || slices.ContainsFunc(moves, func(m move) bool { return m.to < 0 }) {
		return nil, nil, fmt.Errorf("%s has no table %s of states and moves between them", file, name)
	}
	return states, moves, nil
}

// drawMachine returns the figure that src describes as an SVG.
func drawMachine(r repo, src []byte) (string, error) {
	m := &machine{}
	d := json.NewDecoder(strings.NewReader(string(src)))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return "", err
	}
	code, err := r.read(m.File)
	if err != nil {
		return "", err
	}
	l, said := &ladder{}, m.Alt
	l.y = titleLines(l, m.Title, sketchEdge, sketchWidth)
	for i, t := range m.Tables {
		states, moves, err := readMoves(m.File, code, t.Moves)
		if err != nil {
			return "", err
		}
		if err := t.agrees(states); err != nil {
			return "", err
		}
		said += " " + t.draw(l, i, states, moves)
	}
	var b strings.Builder
	openSVG(&b, m.Title, said, sketchWidth, l.y+sketchEdge-8)
	return b.String() + `<g class="flat">` + "\n" + l.String() + "</g></svg>\n", nil
}

// agrees returns an error if the words are not about these states.
func (t *table) agrees(states []string) error {
	for _, state := range states {
		if t.States[state] == "" {
			return fmt.Errorf("%s: no words for the state %s", t.Moves, state)
		}
	}
	if len(t.States) != len(states) {
		return fmt.Errorf("%s: words for %d states, and there are %d", t.Moves, len(t.States), len(states))
	}
	return nil
}

// The measures of a state machine: its states are below each other, a move down is
// an arc at the right, a move back an arc at the left.
const (
	stateLeft, stateRight   = 64, 354
	stateHeight, stateSpace = 44, 14
)

// draw draws the machine below what is drawn, and returns its moves in words.
func (t *table) draw(l *ladder, n int, states []string, moves []move) string {
	if t.Title != "" {
		l.text(sketchEdge, l.y+14, fmt.Sprintf("strong t%d", n%len(lightColours)), t.Title)
		l.y += 28
	}
	top := func(state int) float64 { return float64(l.y + state*(stateHeight+stateSpace)) }
	next := make([][]string, len(states))
	for _, m := range moves {
		next[m.from] = append(next[m.from], t.short(states[m.to]))
		t.arc(l, m, n, top)
	}
	said := make([]string, len(states))
	for i, state := range states {
		y := int(top(i))
		fmt.Fprintf(l, `<rect class="box b%d" x="%d" y="%d" width="%d" height="%d" rx="8"/>`+"\n", n%len(lightColours), stateLeft, y, stateRight-stateLeft, stateHeight)
		l.text(stateLeft+12, y+18, "strong", t.short(state))
		l.text(stateLeft+12, y+36, "small", t.States[state])
		said[i] = t.short(state) + " → " + strings.Join(next[i], ", ")
		if next[i] == nil {
			said[i] = t.short(state) + " is final"
		}
	}
	l.y = int(top(len(states))) + 6
	return strings.Join(said, "; ") + "."
}

func (t *table) short(state string) string {
	return strings.TrimPrefix(state, t.Names)
}

// arc draws a move: it leaves a state in the lower third of its side and enters in the
// upper third, or the reverse on the way up.
func (t *table) arc(l *ladder, m move, n int, top func(int) float64) {
	x, out, head := float64(stateRight), 1.0, "l8 -4v8z"
	from, to := top(m.from)+stateHeight*.68, top(m.to)+stateHeight*.32
	span := m.to - m.from
	if span < 0 {
		x, out, head, span = stateLeft, -1, "l-8 -4v8z", -span
		from, to = top(m.from)+stateHeight*.32, top(m.to)+stateHeight*.68
	}
	bend := x + out*float64(16+16*span)
	fmt.Fprintf(l, `<path class="curve c%d" d="M%.0f %.1fC%.0f %.1f %[4]f %.1[6]f %.0f %.1[6]f"/>`, n%len(lightColours), x, from, bend, from, to, x+out*6)
	fmt.Fprintf(l, `<path class="c%d" d="M%.0f %.1f%s"/>`+"\n", n%len(lightColours), x, to, head)
}
