package main

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const chartSource = `{"title":"Who <waits>","alt":"A falling curve.","recorded":"Linux","x":"backlog","y":"%",
	"series":[{"name":"model","points":[[0,20],[1,11]]},{"name":"measured","marks":true,"points":[[0,21,1.4]]}]}`

func TestChartIsWellFormedAndHasTwoThemes(t *testing.T) {
	c, err := parseChart([]byte(chartSource))
	require.NoError(t, err)

	svg := c.draw()

	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else {
			require.NoError(t, err)
		}
	}
	assert.Contains(t, svg, "prefers-color-scheme: dark")
	assert.Contains(t, svg, "Who &lt;waits&gt;</title>")
	assert.Contains(t, svg, "A falling curve.")
}

func TestChartRefusesWhatItCannotDraw(t *testing.T) {
	for src, words := range map[string]string{
		"{}":                                   "no series",
		`{"series":[{"color":"red"}]}`:         "unknown field",
		`{"series":[{"name":"a","colour":6}]}`: "want 0 to 5",
		`{"series":[{"name":"a","points":[[1]]}]}`:       "a point is x, y",
		`{"series":[{"name":"a","points":[[1,2,3,4]]}]}`: "a point is x, y",
		"not JSON": "invalid character",
	} {
		_, err := parseChart([]byte(src))
		assert.ErrorContains(t, err, words)
	}
}

func TestLogarithmicAxesShowPowersOfTen(t *testing.T) {
	c, err := parseChart([]byte(`{"title":"T","alt":"A.","recorded":"Linux","x":"depth","y":"rate","log":true,
		"series":[{"name":"loop","points":[[1,0.2],[256,90]]}]}`))
	require.NoError(t, err)

	svg := c.draw()

	for _, tick := range []string{">0.1<", ">1<", ">10<", ">100<", ">1000<"} {
		assert.Contains(t, svg, tick)
	}
	_, err = parseChart([]byte(`{"log":true,"series":[{"name":"a","points":[[0,1]]}]}`))
	assert.ErrorContains(t, err, "has no logarithm")
}
