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

// simulateQueue is what part of n clients finds no room, by playing it: the oracle
// for the formula.
func simulateQueue(load float64, room, n int) float64 {
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
	skipIfJudging(t)
	for _, load := range []float64{0.3, 0.5, 0.8, 1, 1.2, 3} {
		lost := blockingProbabilities(load, 10)
		for _, backlog := range []int{0, 1, 2, 5, 10} {
			assert.InDelta(t, simulateQueue(load, backlog+2, 200000), lost[backlog], 0.006,
				"load %v, backlog %d: one in service and backlog+1 in Linux's queue, K = backlog+2. plan.go, blockingProbabilities", load, backlog)
		}
	}
	assert.InDelta(t, 1-1/(math.Exp(-0.8)+0.8), blockingProbabilities(0.8, 0)[0], 1e-12, "M/D/1/2 has a short formula")
}

func TestModelHoldsAtExtremeLoads(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	for _, load := range []float64{1e-9, 0.01, 0.999999, 1, 1.000001, 2, 30, 49, 51, 1e9} {
		lost := blockingProbabilities(load, maxPlannedBacklog)
		require.Len(t, lost, maxPlannedBacklog+1)
		for b := range lost {
			require.False(t, math.IsNaN(lost[b]), "load %v, backlog %d", load, b)
			require.GreaterOrEqual(t, lost[b], max(0, 1-1/load)-1e-9, "load %v, backlog %d: more than the server can do is lost", load, b)
			require.True(t, b == 0 || lost[b] <= lost[b-1]+1e-9, "load %v: a larger backlog loses no more", load)
		}
	}
}

func TestPlanChoosesBetweenTooSmallAndTooLate(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	p := plan{rate: 8, service: 100 * time.Millisecond, target: 1, timeout: time.Second}
	_, best := p.rows()
	assert.Equal(t, 6, best)
	assert.Equal(t, 9, p.largestUseful(), "backlog+1 <= timeout/service")
	assert.Contains(t, p.recommendation(best), "Choose a backlog from 6, the smallest that turns away 1 % or less,\nto 9,")

	p.timeout = 24 * time.Hour
	assert.Contains(t, p.recommendation(best), "\nto 4096, the most that the kernel allows")
	p.timeout = 300 * time.Millisecond
	assert.Contains(t, p.recommendation(best), "its last client would wait 700ms and has given up after 300ms:\nfrom backlog 3 on")
	p.timeout = 50 * time.Millisecond
	assert.Contains(t, p.recommendation(best), "no backlog helps")
	p.rate = 12
	_, best = p.rows()
	assert.Contains(t, p.recommendation(best), "No backlog turns away 1 % or less: 20.0 % more clients arrive than one server can serve")
}

func TestPlanPrintsATableAndJSON(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	var text, lines, stderr bytes.Buffer

	assert.Zero(t, run([]string{"plan"}, &text, &stderr))
	assert.Zero(t, run([]string{"plan", "-json"}, &lines, &stderr))

	requireNarrow(t, text.String())
	assert.Contains(t, text.String(), "        6      0.8790 %          700ms  <- the first within the target\n")
	assert.Contains(t, lines.String(), `{"backlog":50,`)
	assert.NotRegexp(t, `\.[0-9]{7}`, lines.String(), "house rule: no more decimals than anybody reads")
}
