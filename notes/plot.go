package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

// A chart is figures of one recorded run, in runs/NAME.plot.json: curves and
// points over one pair of axes, which begin at 0.
type chart struct {
	Title, Alt, Recorded string
	X, Y                 string // what the axes count, with the unit
	Series               []series
}

// A series is a curve or, with Marks, points.
type series struct {
	Name   string      // in the legend, unless it is empty
	Points [][]float64 // x, y, and half the length of a point's error bar
	Marks  bool
	Colour int // of the columns' colours in a ladder
}

// The frame of a chart, in pixels: what the axes enclose.
const (
	chartWidth, chartHeight              = 640, 390
	frameLeft, frameRight                = 64, 616
	frameTop, frameBottom                = 64, 322
	legendLeft, legendTop, legendSpacing = 490, 72, 20
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
			if len(at) < 2 || len(at) > 3 {
				return nil, fmt.Errorf("series %q: a point is x, y and perhaps half an error bar, not %v", s.Name, at)
			}
			s.Points[i] = append(at, 0)[:3]
		}
	}
	return c, nil
}

// draw returns the chart as an SVG.
func (c *chart) draw() string {
	var right, top float64 // the ends of the axes
	for _, s := range c.Series {
		for _, at := range s.Points {
			right, top = max(right, at[0]), max(top, at[1]+at[2])
		}
	}
	x := func(v float64) float64 { return frameLeft + 10 + v/cmp.Or(right, 1)*(frameRight-frameLeft-20) }
	y := func(v float64) float64 { return frameBottom - v/cmp.Or(top, 1)*(frameBottom-frameTop) }

	var l ladder
	openSVG(&l.Builder, c.Title, c.Alt+" Recorded on "+c.Recorded+".", chartWidth, chartHeight)
	l.text(edge, 34, "title", c.Title)
	fmt.Fprintf(&l, `<path class="axis" d="M%d %dV%dH%d"/>`+"\n", frameLeft, frameTop, frameBottom, frameRight)
	for _, v := range ticks(right) {
		l.text(int(x(v)), frameBottom+18, "note middle", fmt.Sprint(v))
	}
	for _, v := range ticks(top) {
		fmt.Fprintf(&l, `<path class="axis" d="M%d %.1fh-5"/>`, frameLeft, y(v))
		l.text(frameLeft-10, int(y(v))+4, "note end", fmt.Sprint(v))
	}
	l.text(edge, frameTop-8, "note", c.Y)
	l.text((frameLeft+frameRight)/2, frameBottom+38, "note middle", c.X)
	l.text(chartWidth-edge, chartHeight-10, "note end", "Recorded on "+c.Recorded)

	row := legendTop
	for _, s := range c.Series {
		var curve strings.Builder
		for _, at := range s.Points {
			if s.Marks {
				fmt.Fprintf(&l, `<path class="curve c%d" d="M%.1f %.1fV%.1f"/>`, s.Colour, x(at[0]), y(at[1]-at[2]), y(at[1]+at[2]))
				fmt.Fprintf(&l, `<circle class="c%d" cx="%.1f" cy="%.1f" r="3"/>`+"\n", s.Colour, x(at[0]), y(at[1]))
			} else {
				fmt.Fprintf(&curve, "%.1f,%.1f ", x(at[0]), y(at[1]))
			}
		}
		fmt.Fprintf(&l, `<polyline class="curve c%d" points="%s"/>`+"\n", s.Colour, curve.String())
		if s.Name == "" {
			continue
		}
		if s.Marks {
			fmt.Fprintf(&l, `<circle class="c%d" cx="%d" cy="%d" r="3"/>`, s.Colour, legendLeft+12, row)
		} else {
			fmt.Fprintf(&l, `<path class="curve c%d" d="M%d %dh24"/>`, s.Colour, legendLeft, row)
		}
		l.text(legendLeft+34, row+4, "note", s.Name)
		row += legendSpacing
	}
	return l.String() + "</svg>\n"
}

// ticks returns the round numbers from 0 to most: between two and ten of them.
func ticks(most float64) (at []float64) {
	step := math.Pow(10, math.Floor(math.Log10(cmp.Or(most, 1))))
	for i := 0.0; i*step <= most; i++ {
		at = append(at, i*step)
	}
	return at
}
