package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A chart is figures of one recorded run, in runs/NAME.plot.json: curves and
// points over one pair of axes, which begin at 0 unless they are logarithmic.
type chart struct {
	Title, Alt, Recorded string
	X, Y                 string // what the axes count, with the unit
	Log                  bool   // both axes are logarithmic
	Series               []series
}

// A series is a curve or, with Marks, points.
type series struct {
	Name   string      // in the legend, unless it is empty
	Points [][]float64 // x, y, and half the length of a point's error bar
	Marks  bool
	Colour int // of the columns' colours in a ladder
}

// The frame of a chart, in pixels: what the axes enclose. The legend is above it.
const (
	chartHeight             = 320 // of the frame
	frameLeft, frameRight   = 62, 428
	legendWidth, legendStep = 205, 21 // of an entry, two in a row
)

func parseChart(src []byte) (*chart, error) {
	c := &chart{}
	d := json.NewDecoder(bytes.NewReader(src))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, err
	}
	if len(c.Series) == 0 {
		return nil, fmt.Errorf("there is no series to draw")
	}
	for _, s := range c.Series {
		if s.Colour < 0 || s.Colour >= len(lightColours) {
			return nil, fmt.Errorf("series %q: colour %d: want 0 to %d", s.Name, s.Colour, len(lightColours)-1)
		}
		for i, at := range s.Points {
			if c.Log && len(at) == 2 && min(at[0], at[1]) <= 0 {
				return nil, fmt.Errorf("series %q: %v has no logarithm", s.Name, at)
			}
			if len(at) < 2 || len(at) > 3 {
				return nil, fmt.Errorf("series %q: a point is x, y and perhaps half an error bar, not %v", s.Name, at)
			}
			s.Points[i] = append(at, 0)[:3]
		}
	}
	return c, nil
}

// An axis maps what it counts to a number from 0 to 1.
type axis struct {
	ticks []float64
	at    func(float64) float64
}

// newAxis returns the axis for values from least to most.
func newAxis(least, most float64, log bool) axis {
	if !log {
		return axis{ticks(most), func(v float64) float64 { return v / cmp.Or(most, 1) }}
	}
	low, high := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	a := axis{at: func(v float64) float64 { return (math.Log10(v) - low) / max(high-low, 1) }}
	for e := low; e <= high; e++ {
		a.ticks = append(a.ticks, math.Pow(10, e))
	}
	return a
}

// axes returns both axes, which include every point and its error bar.
func (c *chart) axes() (x, y axis) {
	least, most := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{}
	for _, s := range c.Series {
		for _, at := range s.Points {
			least = [2]float64{min(least[0], at[0]), min(least[1], at[1])}
			most = [2]float64{max(most[0], at[0]), max(most[1], at[1]+at[2])}
		}
	}
	return newAxis(least[0], most[0], c.Log), newAxis(least[1], most[1], c.Log)
}

// draw returns the chart as an SVG.
func (c *chart) draw() string {
	var l ladder
	top := c.legend(&l, titleLines(&l, c.Title, sketchEdge, sketchWidth)) + 34
	bottom := top + chartHeight
	across, up := c.axes()
	x := func(v float64) float64 { return frameLeft + 8 + across.at(v)*(frameRight-frameLeft-20) }
	y := func(v float64) float64 { return float64(bottom) - up.at(v)*chartHeight }
	fmt.Fprintf(&l, `<path class="axis" d="M%d %dV%dH%d"/>`+"\n", frameLeft, top, bottom, frameRight)
	for _, v := range across.ticks {
		fmt.Fprintf(&l, `<path class="axis" d="M%.1f %dv5"/>`, x(v), bottom)
		l.text(int(x(v)), bottom+21, "note middle", strconv.FormatFloat(v, 'f', -1, 64))
	}
	for _, v := range up.ticks {
		fmt.Fprintf(&l, `<path class="axis" d="M%d %.1fh-5"/>`, frameLeft, y(v))
		l.text(frameLeft-9, int(y(v))+5, "note end", strconv.FormatFloat(v, 'f', -1, 64))
	}
	l.text(sketchEdge, top-14, "note", c.Y)
	l.y = bottom + 28
	for _, words := range []string{c.X, "Recorded on " + c.Recorded} {
		for _, line := range wrap(words, sketchWidth-2*sketchEdge, 8) {
			l.y += 18
			l.text(sketchWidth/2, l.y, "note middle", line)
		}
		l.y += 4
	}
	for _, s := range c.Series {
		s.draw(&l, x, y)
	}
	var b strings.Builder
	openSVG(&b, c.Title, c.Alt+" Recorded on "+c.Recorded+".", sketchWidth, l.y+sketchEdge)
	return b.String() + l.String() + "</svg>\n"
}

// legend draws the names of the series from top on, and returns where it ends.
func (c *chart) legend(l *ladder, top int) (bottom int) {
	n := 0
	for _, s := range c.Series {
		if s.Name == "" {
			continue
		}
		x, y := sketchEdge+n%2*legendWidth, top+n/2*legendStep+8
		if s.Marks {
			fmt.Fprintf(l, `<circle class="c%d" cx="%d" cy="%d" r="3"/>`, s.Colour, x+12, y)
		} else {
			fmt.Fprintf(l, `<path class="curve c%d" d="M%d %dh24"/>`, s.Colour, x, y)
		}
		l.text(x+32, y+5, "note", s.Name)
		n++
	}
	return top + (n+1)/2*legendStep
}

// draw draws a series.
func (s *series) draw(l *ladder, x, y func(float64) float64) {
	var line strings.Builder
	for _, at := range s.Points {
		if s.Marks {
			fmt.Fprintf(l, `<path class="curve c%d" d="M%.1f %.1fV%.1f"/>`, s.Colour, x(at[0]), y(at[1]-at[2]), y(at[1]+at[2]))
			fmt.Fprintf(l, `<circle class="c%d" cx="%.1f" cy="%.1f" r="3"/>`+"\n", s.Colour, x(at[0]), y(at[1]))
		} else {
			fmt.Fprintf(&line, "%.1f,%.1f ", x(at[0]), y(at[1]))
		}
	}
	fmt.Fprintf(l, `<polyline class="curve c%d" points="%s"/>`+"\n", s.Colour, strings.TrimSpace(line.String()))
}

// ticks returns the round numbers from 0 to most: between two and ten of them.
func ticks(most float64) (at []float64) {
	step := math.Pow(10, math.Floor(math.Log10(cmp.Or(most, 1))))
	for i := 0.0; i*step <= most; i++ {
		at = append(at, i*step)
	}
	return at
}
