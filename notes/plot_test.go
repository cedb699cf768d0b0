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

	svg, err := c.draw()

	require.NoError(t, err)
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else {
			require.NoError(t, err)
		}
	}
	assert.Contains(t, svg, "prefers-color-scheme:dark")
	assert.Contains(t, svg, "<title>Who &lt;waits&gt;</title>")
	assert.Contains(t, svg, "A falling curve.")
	assert.NotContains(t, svg, "#010101", "a colour that has no dark twin")
}

func TestChartRefusesWhatItCannotDraw(t *testing.T) {
	for _, src := range []string{"{}", `{"series":[{"color":"red"}]}`, "not JSON"} {
		_, err := parseChart([]byte(src))
		assert.Error(t, err, src)
	}
	c, err := parseChart([]byte(`{"series":[{"name":"a","points":[[1]]}]}`))
	require.NoError(t, err)
	_, err = c.draw()
	assert.ErrorContains(t, err, "a point is x, y")
}
