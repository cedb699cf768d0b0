package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A chart is figures of one recorded run, in runs/NAME.plot.json: curves and
// points over one pair of axes.
type chart struct {
	Title, Alt, Recorded string
	X, Y                 string // what the axes count, with the unit
	Series               []series
}

// A series is a curve, or points if there are error bars (or no line is wanted).
type series struct {
	Name   string      // in the legend, unless it is empty
	Points [][]float64 // x, y, and half the length of an error bar
	Marks  bool        // points instead of a curve
	Colour int         // 0 to 3
}

// ink are the colours of the drawing library's picture, which knows only one
// theme; each is replaced with a variable that has two values.
var ink = []struct {
	drawn       color.RGBA
	name        string
	light, dark string
}{
	{color.RGBA{1, 1, 1, 255}, "text", "#1f2328", "#e6edf3"},
	{color.RGBA{2, 2, 2, 255}, "c0", "#0550ae", "#79c0ff"},
	{color.RGBA{3, 3, 3, 255}, "c1", "#953800", "#ffa657"},
	{color.RGBA{4, 4, 4, 255}, "c2", "#1a7f37", "#56d364"},
	{color.RGBA{5, 5, 5, 255}, "c3", "#8250df", "#d2a8ff"},
}

func parseChart(src []byte) (*chart, error) {
	c := &chart{}
	if err := strict(src, c); err != nil {
		return nil, err
	}
	if len(c.Series) == 0 {
		return nil, fmt.Errorf("there is no series to draw")
	}
	return c, nil
}

// draw is the chart as an SVG that reads in light and in dark.
func (c *chart) draw() (string, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.Title, c.X, c.Y
	text := ink[0].drawn
	for _, style := range []*draw.TextStyle{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		style.Color, style.Font.Typeface, style.Font.Variant, style.Font.Size = text, "Liberation", "Sans", 11
	}
	p.Title.TextStyle.Font.Size = 14
	p.Title.Padding, p.Legend.Top, p.Y.Min = 12, true, 0
	p.X.LineStyle.Color, p.Y.LineStyle.Color = text, text
	p.X.Tick.LineStyle.Color, p.Y.Tick.LineStyle.Color = text, text
	p.BackgroundColor, p.X.Tick.Marker = nil, counts{}
	for _, s := range c.Series {
		if s.Colour < 0 || s.Colour > len(ink)-2 {
			return "", fmt.Errorf("series %q: colour %d: want 0 to %d", s.Name, s.Colour, len(ink)-2)
		}
		if err := s.addTo(p, ink[s.Colour+1].drawn); err != nil {
			return "", fmt.Errorf("series %q: %w", s.Name, err)
		}
	}
	canvas := vgsvg.New(640, 380)
	p.Draw(draw.Crop(draw.New(canvas), 12, -12, 12, -12))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", err
	}
	return c.dress(b.String()), nil
}

func (s series) addTo(p *plot.Plot, c color.Color) error {
	points, bars := plotter.XYs{}, yErrors{}
	for _, at := range s.Points {
		if len(at) < 2 {
			return fmt.Errorf("a point is x, y and perhaps half an error bar, not %v", at)
		}
		points = append(points, plotter.XY{X: at[0], Y: at[1]})
		if len(at) > 2 {
			bars.XYs = append(bars.XYs, points[len(points)-1])
			bars.half = append(bars.half, at[2])
		}
	}
	if !s.Marks {
		line, err := plotter.NewLine(points)
		if err != nil {
			return err
		}
		line.Color, line.Width = c, vg.Points(1.5)
		p.Add(line)
		s.explain(p, line)
		return nil
	}
	marks, err := plotter.NewScatter(points)
	if err != nil {
		return err
	}
	marks.GlyphStyle = draw.GlyphStyle{Color: c, Radius: 3, Shape: draw.CircleGlyph{}}
	p.Add(marks)
	s.explain(p, marks)
	if len(bars.half) > 0 {
		whiskers, err := plotter.NewYErrorBars(bars)
		if err != nil {
			return err
		}
		whiskers.Color = c
		p.Add(whiskers)
	}
	return nil
}

func (s series) explain(p *plot.Plot, drawn plot.Thumbnailer) {
	if s.Name != "" {
		p.Legend.Add(s.Name, drawn)
	}
}

// counts marks every whole number on the axis, of which there are not many.
type counts struct{}

func (counts) Ticks(low, high float64) (marks []plot.Tick) {
	for n := math.Ceil(low); n <= high; n++ {
		marks = append(marks, plot.Tick{Value: n, Label: fmt.Sprint(n)})
	}
	return marks
}

// yErrors are points with error bars, as the drawing library wants them.
type yErrors struct {
	plotter.XYs
	half []float64
}

func (e yErrors) YError(i int) (low, high float64) { return e.half[i], e.half[i] }

// dress gives the picture its two themes, its ground, and words for who cannot
// see it.
func (c *chart) dress(svg string) string {
	light, dark := "", ""
	for _, i := range ink {
		drawn := fmt.Sprintf(":#%02X%02X%02X", i.drawn.R, i.drawn.G, i.drawn.B)
		for _, property := range []string{"fill", "stroke"} { // the first value is for viewers without variables
			svg = strings.ReplaceAll(svg, property+drawn, fmt.Sprintf("%s:%s;%s:var(--%s)", property, i.light, property, i.name))
		}
		light += fmt.Sprintf("--%s:%s;", i.name, i.light)
		dark += fmt.Sprintf("--%s:%s;", i.name, i.dark)
	}
	at := strings.Index(svg, "<svg ")
	inside := at + strings.Index(svg[at:], ">") + 1
	style := "<style>svg{" + light + "--ground:#fff}text{font-family:system-ui,sans-serif!important}" +
		"@media(prefers-color-scheme:dark){svg{" + dark + "--ground:#0d1117}}</style>\n"
	return svg[:at] + `<svg role="img" ` + svg[at+len("<svg "):inside] + "\n<title>" + escape(c.Title) + "</title>\n<desc>" +
		escape(c.Alt) + " Recorded on " + escape(c.Recorded) + ".</desc>\n" + style +
		`<rect width="100%" height="100%" rx="8" fill="#fff" style="fill:var(--ground)"/>` + svg[inside:]
}
