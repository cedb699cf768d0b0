package main

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// simulated is what part of n clients finds no room, by playing it: the oracle
// for the formula.
func simulated(load float64, room, n int) float64 {
	random := rand.New(rand.NewPCG(1, 2))
	var ends []float64 // of the services of those who are in
	now, lost := 0.0, 0
	for range n {
		now += random.ExpFloat64() / load
		for len(ends) > 0 && ends[0] <= now {
			ends = ends[1:]
		}
		if len(ends) == room {
			lost++
		} else if len(ends) == 0 {
			ends = append(ends, now+1)
		} else {
			ends = append(ends, ends[len(ends)-1]+1)
		}
	}
	return float64(lost) / float64(n)
}

func TestModelAgreesWithASimulation(t *testing.T) {
	t.Parallel()
	ours(t)
	for _, load := range []float64{0.3, 0.5, 0.8, 1, 1.2, 3} {
		lost := losses(load, 10)
		for _, backlog := range []int{0, 1, 2, 5, 10} {
			assert.InDelta(t, simulated(load, backlog+2, 200000), lost[backlog], 0.006,
				"load %v, backlog %d: one in service and backlog+1 in Linux's queue, K = backlog+2. plan.go, losses", load, backlog)
		}
	}
	assert.InDelta(t, 1-1/(math.Exp(-0.8)+0.8), losses(0.8, 0)[0], 1e-12, "M/D/1/2 has a short formula")
}

func TestModelIsSoundAtTheEdges(t *testing.T) {
	t.Parallel()
	ours(t)
	for _, load := range []float64{1e-9, 0.01, 0.999999, 1, 1.000001, 2, 30, 49, 51, 1e9} {
		lost := losses(load, mostPlanned)
		require.Len(t, lost, mostPlanned+1)
		for b := range lost {
			require.False(t, math.IsNaN(lost[b]), "load %v, backlog %d", load, b)
			require.GreaterOrEqual(t, lost[b], max(0, 1-1/load)-1e-9, "load %v, backlog %d: more than the server can do is lost", load, b)
			require.True(t, b == 0 || lost[b] <= lost[b-1]+1e-9, "load %v: a larger backlog loses no more", load)
		}
	}
}

func TestPlanChoosesBetweenTooSmallAndTooLate(t *testing.T) {
	t.Parallel()
	ours(t)
	p := plan{rate: 8, service: 100 * time.Millisecond, target: 1, timeout: time.Second}
	_, best := p.lines()
	assert.Equal(t, 6, best)
	assert.Equal(t, 9, p.largestUseful(), "backlog+1 <= timeout/service")
	assert.Contains(t, p.advice(best), "Choose a backlog from 6, the smallest that turns away 1 % or less,\nto 9,")

	p.timeout = 24 * time.Hour
	assert.Contains(t, p.advice(best), "\nto 4096, which is all that the kernel gives")
	p.timeout = 300 * time.Millisecond
	assert.Contains(t, p.advice(best), "whoever is last in it waits 700ms and has given up after 300ms:\nfrom backlog 3 on")
	p.timeout = 50 * time.Millisecond
	assert.Contains(t, p.advice(best), "no backlog is of use")
	p.rate = 12
	_, best = p.lines()
	assert.Contains(t, p.advice(best), "No backlog turns away 1 % or less: 20.0 % more comes than one server can do")
}

func TestPlanPrintsATableAndJSON(t *testing.T) {
	t.Parallel()
	ours(t)
	var text, lines, stderr bytes.Buffer

	assert.Zero(t, run([]string{"plan"}, &text, &stderr))
	assert.Zero(t, run([]string{"plan", "-json"}, &lines, &stderr))

	assert.Contains(t, text.String(), "        6      0.8790 %          700ms  <- the first within the target\n")
	assert.Contains(t, lines.String(), `{"backlog":50,`)
}
