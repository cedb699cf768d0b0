package main

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// The measures of a figure, in pixels. Text is monospaced, so that its width
// is known without a font at hand: widest is DejaVu Sans Mono with 0.602 em.
const (
	figureWidth = sketchWidth
	edge        = sketchEdge // around everything
	firstLine   = 32         // x of the first lifeline
	widestLane  = 76         // from one lifeline to the next, at most
	allLanes    = 152        // from the first lifeline to the last, at most
	charWidth   = cellWidth
	lineHeight  = 18
	rowGap      = 10
	nameHeight  = 22
	pause       = 28      // height of the mark for a long wait
	longWait    = 100_000 // µs without an event
	maxLines    = 5       // of one event's text; the rest is in the description
)

// colours of the columns, for a light and a dark background: all of them, and
// the text's, have a contrast of at least 4.5:1.
var (
	lightColours = []string{"#0550ae", "#9a3412", "#166534", "#6d28d9", "#9d174d", "#115e59"}
	darkColours  = []string{"#79c0ff", "#ffa657", "#7ee787", "#d2a8ff", "#ff9bce", "#5eead4"}
)

// A ladder is a sequence chart that is being drawn: time runs down, every
// column has a lifeline, an event is a dot on it or an arrow to another. The lifelines
// are close together at the left and the words right of all of them, so that the words
// have room on a phone.
type ladder struct {
	*recording
	strings.Builder
	lane int // from one lifeline to the next
	y    int // how far it is drawn
}

// draw returns the recording as an SVG.
func (rec *recording) draw() string {
	l := &ladder{recording: rec, lane: min(widestLane, allLanes/max(len(rec.Columns)-1, 1))}
	l.head()
	top := l.y - 10
	for i, e := range rec.events {
		if wait := e.Us - rec.events[max(0, i-1)].Us; i > 0 && wait >= longWait {
			l.wait(wait)
		}
		l.event(e)
	}
	l.y += rowGap
	bottom := l.y
	for _, line := range wrap("Recorded on "+rec.Recorded+".", figureWidth-2*edge, 8) {
		l.y += lineHeight
		l.text(edge, l.y, "note", line)
	}
	var b strings.Builder
	openSVG(&b, rec.Title, rec.describe(), figureWidth, l.y+edge)
	for i := range rec.Columns { // behind everything
		x := firstLine + l.lane*i
		fmt.Fprintf(&b, `<path class="life" d="M%d %dV%d"/>`+"\n", x, top, bottom)
	}
	return b.String() + l.String() + "</svg>\n"
}

// openSVG writes what comes before a drawing: words for those who cannot see it,
// the styles, the background.
func openSVG(b *strings.Builder, title, description string, width, height int) {
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-labelledby="title desc">`+"\n", width, height)
	fmt.Fprintf(b, "<title id=\"title\">%s</title>\n<desc id=\"desc\">%s</desc>\n", escape(title), escape(description))
	b.WriteString("<style>\n" + fixedStyle + palette("#ffffff", "#1f2328", "#57606a", "#c3cad2", lightColours))
	b.WriteString("@media (prefers-color-scheme: dark) {\n" + palette("#0d1117", "#e6edf3", "#9da7b3", "#3d444d", darkColours) + "}\n</style>\n")
	fmt.Fprintf(b, `<rect class="ground" width="%d" height="%d" rx="8"/>`+"\n", width, height)
}

const fixedStyle = `text { font: 14.3px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; stroke-width: 5px; stroke-linejoin: round; paint-order: stroke; }
.title, .note { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
.title { font-size: 17px; font-weight: 600; }
.middle { text-anchor: middle; }
.end { text-anchor: end; }
.life { stroke-width: 1.5px; }
.gap { stroke-width: 3px; stroke-dasharray: 5 2; }
.arrow { stroke-width: 1.5px; }
.small { font-size: 14px; font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
.strong { font-weight: 600; }
.flat text { stroke: none; }
.box { stroke-width: 1.2px; fill-opacity: .16; }
.stroke { stroke-width: 1.5px; }
path.axis { fill: none; }
path.curve, polyline.curve { fill: none; stroke-width: 1.8px; }
`

// palette writes the colours of everything.
func palette(ground, text, faint, line string, columns []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".ground { fill: %[1]s; }\n.gap { stroke: %[1]s; }\ntext { fill: %[2]s; stroke: %[1]s; }\n.time, .note { fill: %[3]s; }\n.life, .axis { stroke: %[4]s; }\n.box, .stroke { fill: %[3]s; stroke: %[3]s; }\n", ground, text, faint, line)
	for i, colour := range columns {
		fmt.Fprintf(&b, ".c%[1]d, .b%[1]d { fill: %[2]s; stroke: %[2]s; }\ntext.t%[1]d { fill: %[2]s; }\n", i, colour)
	}
	return b.String()
}

// describe says everything in words.
func (rec *recording) describe() string {
	var b strings.Builder
	if rec.Alt != "" {
		b.WriteString(strings.TrimSuffix(rec.Alt, ".") + ". ")
	}
	for i, e := range rec.events {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "at %s, %s", clock(e.Us), e.Who)
		if e.To != "" {
			b.WriteString(" to " + e.To)
		}
		b.WriteString(": " + e.What)
	}
	return b.String() + "."
}

// titleLines draws a title in the width of a figure, and returns where it ends.
func titleLines(l *ladder, title string, edge, width int) (y int) {
	y = edge
	for _, line := range wrap(title, width-2*edge, 9.6) {
		l.text(edge, y+16, "title", line)
		y += 23
	}
	return y + 10
}

func (l *ladder) x(column string) int { return firstLine + l.lane*slices.Index(l.Columns, column) }

// colour is the number of a column's colour.
func (l *ladder) colour(column string) int {
	return slices.Index(l.Columns, column) % len(lightColours)
}

// head draws the title and the columns' names, each on a line of its own above its
// lifeline.
func (l *ladder) head() {
	l.y = titleLines(l, l.Title, edge, figureWidth)
	for i, name := range l.Columns {
		l.text(l.x(name)-8, l.y+15, fmt.Sprintf("strong t%d", l.colour(name)), name)
		for _, earlier := range l.Columns[:i] {
			fmt.Fprintf(l, `<path class="life" d="M%d %dv%d"/>`+"\n", l.x(earlier), l.y, nameHeight)
		}
		l.y += nameHeight
	}
	l.y += 10
}

// wait draws that nothing happened for long: the lifelines are broken.
func (l *ladder) wait(us float64) {
	for _, name := range l.Columns {
		fmt.Fprintf(l, `<path class="gap" d="M%d %dv%d"/>`+"\n", l.x(name), l.y+2, pause-4)
	}
	l.text(firstLine+l.lane*(len(l.Columns)-1)+16, l.y+pause/2+5, "note", clock(us)+" go by")
	l.y += pause
}

// event draws one row: a dot or an arrow, and right of the lifelines what happened.
func (l *ladder) event(e event) {
	l.y += rowGap
	left := firstLine + l.lane*(len(l.Columns)-1) + 16
	at := clock(e.Us)
	lines := wrap(at+"  "+e.What, figureWidth-edge-left, charWidth)
	for i, line := range lines {
		if i == 0 {
			l.text(left, l.y+14, "time", at)
			left, line = left+int(charWidth*float64(utf8.RuneCountInString(at)+1)), strings.TrimSpace(strings.TrimPrefix(line, at))
		}
		l.text(left, l.y+14+lineHeight*i, "", line)
		left = firstLine + l.lane*(len(l.Columns)-1) + 16
	}
	middle := l.y + lineHeight/2
	if e.To == "" {
		fmt.Fprintf(l, `<circle class="c%d" cx="%d" cy="%d" r="4"/>`+"\n", l.colour(e.Who), l.x(e.Who), middle)
	} else {
		l.arrow(l.x(e.Who), l.x(e.To), middle, l.colour(e.Who))
	}
	l.y += lineHeight * len(lines)
}

// arrow draws an arrow at y.
func (l *ladder) arrow(from, to, y, colour int) {
	back := -9
	if to < from {
		back = 9
	}
	fmt.Fprintf(l, `<circle class="c%d" cx="%d" cy="%d" r="2.5"/><line class="arrow c%[1]d" x1="%[2]d" y1="%[3]d" x2="%[4]d" y2="%[3]d"/>`, colour, from, y, to+back/2)
	fmt.Fprintf(l, `<path class="c%d" d="M%d %dl%d -4v8z"/>`+"\n", colour, to, y, back)
}

func (l *ladder) text(x, y int, class, text string) {
	if class != "" {
		class = ` class="` + class + `"`
	}
	fmt.Fprintf(l, `<text x="%d" y="%d"%s>%s</text>`+"\n", x, y, class, escape(text))
}

// wrap breaks text into lines of at most width pixels; what does not fit into
// maxLines ends in "…".
func wrap(text string, width int, charWidth float64) []string {
	most := max(int(float64(width)/charWidth), 2)
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		if *last != "" && utf8.RuneCountInString(*last+" "+word) > most {
			lines = append(lines, "")
			last = &lines[len(lines)-1]
		}
		*last = strings.TrimSpace(*last + " " + word)
	}
	if len(lines) > maxLines {
		lines = lines[:maxLines]
		lines[maxLines-1] += " …"
	}
	for i, line := range lines {
		if letters := []rune(line); len(letters) > most {
			lines[i] = strings.TrimRight(string(letters[:most-1]), " …") + "…"
		}
	}
	return lines
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder never fails
	return b.String()
}
