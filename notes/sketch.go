package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A sketch is a figure that was drawn as text, in figures/NAME.txt: a few lines of
// "key: value", an empty line, then the drawing, of at most sketchColumns columns:
//
//	title: Two requests in one buffer
//	alt: A buffer holds one request and the beginning of the next.
//	colour 1: GET /x
//
//	 r=0               w=32
//	 [GET / HTTP/1.1..|GET /x HT│          ]
//	  └─ complete ───▶ skip(27)
//
// Lines of the box-drawing block become lines, ▲▶▼◀ arrowheads, blocks (█▓▒░) bars,
// and what stands between [ and ] a box with parts that | divides. A phrase that
// "colour N" lists, divided by commas, has that colour (of a ladder's columns), and so
// has the part of a box that it is in.
type sketch struct {
	title, alt string
	colours    map[string]int
	rows       [][]rune
}

// The measures of a sketch. On a phone, where 440 pixels become 342, its text has 11.
const (
	sketchWidth   = 440
	sketchColumns = 49
	cellWidth     = 8.6
	cellHeight    = 19
	sketchEdge    = 9
)

func parseSketch(src string) (*sketch, error) {
	s := &sketch{colours: map[string]int{}}
	head, body, _ := strings.Cut(src, "\n\n")
	for line := range strings.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		var colour int
		switch _, err := fmt.Sscanf(key, "colour %d", &colour); {
		case key == "title":
			s.title = value
		case key == "alt":
			s.alt = value
		case err == nil && colour >= 0 && colour < len(lightColours):
			for phrase := range strings.SplitSeq(value, ", ") {
				s.colours[phrase] = colour
			}
		default:
			return nil, fmt.Errorf("%q is none of title, alt, colour 0 to %d", key, len(lightColours)-1)
		}
	}
	for row := range strings.SplitSeq(strings.TrimRight(body, "\n"), "\n") {
		s.rows = append(s.rows, []rune(strings.TrimRight(row, " ")))
		if n := len(s.rows[len(s.rows)-1]); n > sketchColumns {
			return nil, fmt.Errorf("row %d of the drawing has %d columns, and a phone shows %d", len(s.rows), n, sketchColumns)
		}
	}
	for phrase := range s.colours {
		if indexWords(body, phrase) < 0 {
			return nil, fmt.Errorf("no %q to colour", phrase)
		}
	}
	if s.title == "" || s.alt == "" || body == "" {
		return nil, fmt.Errorf("a figure needs a title, an alt and a drawing")
	}
	return s, nil
}

// draw returns the sketch as an SVG: boxes and bars, then lines, then text over them.
func (s *sketch) draw() string {
	l := &ladder{}
	top := titleLines(l, s.title, sketchEdge, sketchWidth)
	for y, row := range s.rows {
		s.boxes(l, string(row), top+y*cellHeight)
		s.bars(l, row, top+y*cellHeight)
	}
	fmt.Fprintf(l, `<path class="stroke" d="%s"/>`+"\n", s.lines(top))
	for y, row := range s.rows {
		s.texts(l, row, top+y*cellHeight)
	}
	var b strings.Builder
	openSVG(&b, s.title, s.alt, sketchWidth, top+len(s.rows)*cellHeight+sketchEdge)
	return b.String() + `<g class="flat">` + "\n" + l.String() + "</g></svg>\n"
}

// column is the left side of a cell.
func column(n float64) float64 { return sketchEdge + n*cellWidth }

var (
	boxed = regexp.MustCompile(`\[[^\[\]]*\]`)
	words = regexp.MustCompile(`[^\s─│┌┐└┘├┤┬┴┼╌╎▲▶▼◀█▓▒░\[\]|]+( [^\s─│┌┐└┘├┤┬┴┼╌╎▲▶▼◀█▓▒░\[\]|]+)*`)
)

// boxes draws what stands in brackets, part by part.
func (s *sketch) boxes(l *ladder, row string, y int) {
	for _, at := range boxed.FindAllStringIndex(row, -1) {
		x := utf8.RuneCountInString(row[:at[0]])
		for part := range strings.SplitSeq(row[at[0]+1:at[1]-1], "|") {
			width := utf8.RuneCountInString(part) + 1
			class := "box"
			if colour, ok := s.colour(part); ok {
				class = fmt.Sprintf("box b%d", colour)
			}
			fmt.Fprintf(l, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"/>`+"\n", class, column(float64(x)+.5), y+1, float64(width)*cellWidth, cellHeight-2)
			x += width
		}
	}
}

// colour is that of the longest listed phrase in text.
func (s *sketch) colour(text string) (colour int, ok bool) {
	longest := 0
	for phrase, c := range s.colours {
		if len(phrase) > longest && indexWords(text, phrase) >= 0 {
			longest, colour, ok = len(phrase), c, true
		}
	}
	return colour, ok
}

// bars draws the runs of one kind of block.
func (s *sketch) bars(l *ladder, row []rune, y int) {
	for x := 0; x < len(row); x++ {
		kind := slices.Index([]rune("█▓▒░"), row[x])
		if kind < 0 {
			continue
		}
		end := x
		for end < len(row) && row[end] == row[x] {
			end++
		}
		class := fmt.Sprintf("c%d", kind)
		if row[x] == '░' {
			class = "box"
		}
		fmt.Fprintf(l, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"/>`+"\n", class, column(float64(x)), y+4, float64(end-x)*cellWidth, cellHeight-8)
		x = end - 1
	}
}

// arms are the directions in which a character of a line leaves its cell: up 1,
// right 2, down 4, left 8. An arrowhead has that of its line.
var arms = map[rune]int{
	'─': 10, '│': 5, '┌': 6, '┐': 12, '└': 3, '┘': 9, '├': 7, '┤': 13, '┬': 14, '┴': 11, '┼': 15,
	'╌': 10, '╎': 5, '▲': 4, '▶': 8, '▼': 1, '◀': 2,
}

var heads = map[rune]string{
	'▲': "m-4 1l4 -9l4 9z", '▼': "m-4 -1l4 9l4 -9z", '▶': "m-4.3 -4l9 4l-9 4z", '◀': "m4.3 -4l-9 4l9 4z",
}

// indexWords is where phrase is in text, as words of its own.
func indexWords(text, phrase string) int {
	in := func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }
	for from := 0; ; {
		i := strings.Index(text[from:], phrase)
		if i < 0 {
			return -1
		}
		i += from
		first, _ := utf8.DecodeRuneInString(phrase)
		last, _ := utf8.DecodeLastRuneInString(phrase)
		before, _ := utf8.DecodeLastRuneInString(text[:i])
		after, _ := utf8.DecodeRuneInString(text[i+len(phrase):])
		if !(in(before) && in(first)) && !(in(last) && in(after)) {
			return i
		}
		from = i + len(phrase)
	}
}

// lines is the path of all lines and arrowheads.
func (s *sketch) lines(top int) string {
	var path strings.Builder
	for y, row := range s.rows {
		for x, r := range row {
			if arms[r] == 0 {
				continue
			}
			cx, cy := column(float64(x)+.5), float64(top+y*cellHeight)+cellHeight/2.0
			dx, dy := cellWidth/2, cellHeight/2.0
			if r == '╌' || r == '╎' { // half a line, so that it is dashed
				dx, dy = dx/2, dy/2
			}
			for i, arm := range []string{fmt.Sprintf("v%.1f", -dy), fmt.Sprintf("h%.1f", dx), fmt.Sprintf("v%.1f", dy), fmt.Sprintf("h%.1f", -dx)} {
				if arms[r]&(1<<i) != 0 {
					fmt.Fprintf(&path, "M%.1f %.1f%s", cx, cy, arm)
				}
			}
			if head := heads[r]; head != "" {
				fmt.Fprintf(&path, "M%.1f %.1f%s", cx, cy, head)
			}
		}
	}
	return path.String()
}

// texts draws the words of a row; two spaces end a run of them. A run has the width of
// its cells in every font.
func (s *sketch) texts(l *ladder, row []rune, y int) {
	text := string(row)
	for _, at := range words.FindAllStringIndex(text, -1) {
		for _, piece := range s.pieces(text[at[0]:at[1]]) {
			start := at[0] + piece.start
			x, n := utf8.RuneCountInString(text[:start]), utf8.RuneCountInString(piece.text)
			fmt.Fprintf(l, `<text x="%.1f" y="%d" textLength="%.1f"%s>%s</text>`+"\n", column(float64(x)), y+14, float64(n)*cellWidth, piece.class, escape(piece.text))
		}
	}
}

// A piece of a run of words has one colour.
type piece struct {
	start       int // byte of the run
	text, class string
}

// pieces cuts run where a coloured phrase begins or ends.
func (s *sketch) pieces(run string) []piece {
	at, phrase := len(run), ""
	for p := range s.colours {
		if i := indexWords(run, p); i >= 0 && (i < at || i == at && len(p) > len(phrase)) {
			at, phrase = i, p
		}
	}
	var all []piece
	if plain := strings.TrimRight(run[:at], " "); plain != "" {
		lead := len(plain) - len(strings.TrimLeft(plain, " "))
		all = append(all, piece{lead, plain[lead:], ""})
	}
	if phrase != "" {
		all = append(all, piece{at, phrase, fmt.Sprintf(` class="t%d"`, s.colours[phrase])})
		for _, p := range s.pieces(run[at+len(phrase):]) {
			p.start += at + len(phrase)
			all = append(all, p)
		}
	}
	return all
}
