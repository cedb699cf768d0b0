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
	figureWidth = 860
	edge        = 20   // around everything
	firstLine   = 118  // x of the first lifeline; the times are left of it
	charWidth   = 7.55 // of 12.5 px text
	lineHeight  = 16
	rowGap      = 14
	headHeight  = 26
	pause       = 26      // height of the mark for a long wait
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
// column has a lifeline, an event is a dot on it or an arrow to another.
type ladder struct {
	*recording
	strings.Builder
	lane int // from one lifeline to the next
	y    int // how far it is drawn
}

// draw returns the recording as an SVG.
func (rec *recording) draw() string {
	l := &ladder{recording: rec, lane: (figureWidth - edge - firstLine) / len(rec.Columns), y: edge}
	l.head()
	top := l.y - 10
	for i, e := range rec.events {
		if wait := e.Us - rec.events[max(0, i-1)].Us; wait >= longWait {
			l.wait(wait)
		}
		l.event(e)
	}
	l.y += rowGap
	bottom := l.y
	if rec.Recorded != "" {
		l.y += lineHeight
		l.text(figureWidth-edge, l.y, "note end", "Recorded on "+rec.Recorded)
		l.y += 6
	}
	var b strings.Builder
	openSVG(&b, rec.Title, rec.describe(), figureWidth, l.y+edge-6)
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

const fixedStyle = `text { font: 12.5px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; stroke-width: 5px; stroke-linejoin: round; paint-order: stroke; }
.title, .name, .note { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
.title { font-size: 17px; font-weight: 600; }
.name { font-size: 13px; font-weight: 600; stroke: none; }
.middle { text-anchor: middle; }
.end { text-anchor: end; }
.life { stroke-width: 1.5px; }
.gap { stroke-width: 3px; stroke-dasharray: 5 2; }
.arrow { stroke-width: 1.5px; }
path.axis { fill: none; }
path.curve, polyline.curve { fill: none; stroke-width: 1.8px; }
`

// palette writes the colours of everything.
func palette(ground, text, faint, line string, columns []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".ground { fill: %[1]s; }\n.gap { stroke: %[1]s; }\ntext { fill: %[2]s; stroke: %[1]s; }\n.time, .note { fill: %[3]s; }\n.life, .axis { stroke: %[4]s; }\n", ground, text, faint, line)
	for i, colour := range columns {
		fmt.Fprintf(&b, ".c%[1]d { fill: %[2]s; stroke: %[2]s; }\n.name%[1]d { fill: %[3]s; }\n", i, colour, ground)
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

func (l *ladder) x(column string) int { return firstLine + l.lane*slices.Index(l.Columns, column) }

// colour is the number of a column's colour.
func (l *ladder) colour(column string) int {
	return slices.Index(l.Columns, column) % len(lightColours)
}

// head draws the title and the columns' names.
func (l *ladder) head() {
	if l.Title != "" {
		for _, line := range wrap(l.Title, figureWidth-2*edge, 9.5) {
			l.text(edge, l.y+16, "title", line)
			l.y += 24
		}
		l.y += 14
	}
	for _, name := range l.Columns {
		shown := wrap(name, l.lane-24, 8)[0]
		width := 24 + 8*utf8.RuneCountInString(shown)
		fmt.Fprintf(l, `<rect class="c%d" x="%d" y="%d" width="%d" height="%d" rx="13"/>`+"\n", l.colour(name), l.x(name)-width/2, l.y, width, headHeight)
		l.text(l.x(name), l.y+17, fmt.Sprintf("name middle name%d", l.colour(name)), shown)
	}
	l.y += headHeight + 10
}

// wait draws that nothing happened for long: the lifelines are broken.
func (l *ladder) wait(us float64) {
	for _, name := range l.Columns {
		fmt.Fprintf(l, `<path class="gap" d="M%d %dv%d"/>`+"\n", l.x(name), l.y+2, pause-4)
	}
	l.text(l.x(l.Columns[0])+14, l.y+pause/2+4, "note", clock(us)+" go by")
	l.y += pause
}

// event draws one row: the text beside a dot, or above an arrow.
func (l *ladder) event(e event) {
	l.y += rowGap
	x, at := l.x(e.Who), l.y+lineHeight/2
	if e.To == "" {
		lines := wrap(e.What, l.lane-20, charWidth)
		for i, line := range lines {
			l.text(x+14, at+4+lineHeight*i, "", line)
		}
		fmt.Fprintf(l, `<circle class="c%d" cx="%d" cy="%d" r="4"/>`+"\n", l.colour(e.Who), x, at)
		l.y += lineHeight * len(lines)
	} else {
		to := l.x(e.To)
		lines := wrap(e.What, max(x-to, to-x)-24, charWidth)
		for i, line := range lines {
			l.text((x+to)/2, l.y+11+lineHeight*i, "middle", line)
		}
		l.y += lineHeight*len(lines) + 3
		at = l.y
		l.arrow(x, to, l.colour(e.Who))
		l.y += 4
	}
	l.text(firstLine-26, at+4, "time end", clock(e.Us))
}

// arrow draws an arrow at l.y.
func (l *ladder) arrow(from, to, colour int) {
	back := -9
	if to < from {
		back = 9
	}
	fmt.Fprintf(l, `<circle class="c%d" cx="%d" cy="%d" r="2.5"/><line class="arrow c%[1]d" x1="%[2]d" y1="%[3]d" x2="%[4]d" y2="%[3]d"/>`, colour, from, l.y, to+back/2)
	fmt.Fprintf(l, `<path class="c%d" d="M%d %dl%d -4v8z"/>`+"\n", colour, to, l.y, back)
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
