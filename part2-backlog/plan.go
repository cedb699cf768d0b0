package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// blockingProbabilities tells, for each backlog from 0 to most, what part of the clients finds
// the queue full: M/D/1/K in the books. Clients come at random (M), each takes
// the same time (D), one server (1), and room for K = backlog + 2: one in
// service, backlog + 1 in Linux's queue. Who finds no room goes away. load is
// the clients that come during one service, on average.
//
// Look at the moments when a service ends, and at how many are left behind then.
// In the long run the number goes up past j as often as it comes down past j:
//
//	left[j+1] × P(nobody comes) = left[0] × P(> j come) + Σ left[i] × P(> j-i+1 come), i = 1…j
//
// That gives left up to a factor, whatever K is; the factor makes the first K-1
// sum up to 1. The server idles between services with probability left[0], for
// 1/load services: from that follows what is let in, and what is not.
func blockingProbabilities(load float64, most int) []float64 {
	if load > 50 { // the server never idles, and exp(-load) is soon too small for a float
		return slices.Repeat([]float64{1 - 1/load}, most+1)
	}
	more := poissonTails(load) // more[n] is P(> n come during a service)
	none := math.Exp(-load)
	left, sum := []float64{1}, 1.0
	var lost []float64
	for j := 0; len(lost) <= most; j++ {
		next := left[0] * valueAt(more, j)
		for i := max(1, j-len(more)); i <= j; i++ {
			next += left[i] * valueAt(more, j-i+1)
		}
		left = append(left, next/none)
		sum += left[j+1]
		lost = append(lost, 1-1/(1/sum+load)) // K-1 = j+1 states, 0 to j+1, sum up
		if sum > 1e100 {                      // it is all in the tail: from here on nothing changes
			for len(lost) <= most {
				lost = append(lost, 1-1/load)
			}
		}
	}
	return lost
}

// poissonTails are P(> n) of the Poisson distribution, until they are nothing.
func poissonTails(mean float64) (more []float64) {
	p, upTo := math.Exp(-mean), 0.0
	for n := 0; n < 1000; n++ {
		upTo += p
		p *= mean / float64(n+1)
		if tail := 1 - upTo; tail > 1e-15 {
			more = append(more, tail)
		} else {
			break
		}
	}
	return more
}

func valueAt(list []float64, i int) float64 {
	if i < len(list) {
		return list[i]
	}
	return 0
}

// A plan is which backlog to choose.
type plan struct {
	rate    float64       // clients a second
	service time.Duration // of the server's time that each takes
	target  float64       // percent that may be turned away
	timeout time.Duration // of a client
}

func (p plan) load() float64 { return p.rate * p.service.Seconds() }

// longestWait is how long the last one to get into a full queue may wait for
// its turn.
func (p plan) longestWait(backlog int) time.Duration { return time.Duration(backlog+1) * p.service }

// largestUseful is the backlog whose last client is just in time, -1 if none is;
// never more than the kernel gives.
func (p plan) largestUseful() int { return int(min(p.timeout/p.service-1, maxPlannedBacklog)) }

const maxPlannedBacklog = 4096 // what net.core.somaxconn allows since Linux 5.4

// A planRow line is what a backlog does.
type planRow struct {
	Backlog int     `json:"backlog"`
	Lost    float64 `json:"lost_percent"`
	WaitMS  float64 `json:"longest_wait_ms"`
	Meets   bool    `json:"meets_target"`
	InTime  bool    `json:"in_time"` // backlog+1 ≤ timeout / service
}

// rows are what some backlogs do; best is the smallest that meets the target,
// -1 if none does.
func (p plan) rows() (lines []planRow, best int) {
	lost := blockingProbabilities(p.load(), maxPlannedBacklog)
	best = slices.IndexFunc(lost, func(l float64) bool { return 100*l <= p.target })
	shown := []int{0, 1, 2, 3, 5, 10, 20, 50, 128, 511, maxPlannedBacklog}
	if best >= 0 && !slices.Contains(shown, best) {
		shown = append(shown, best)
		slices.Sort(shown)
	}
	for _, b := range shown {
		lines = append(lines, planRow{b, 100 * lost[b], milliseconds(p.longestWait(b)), 100*lost[b] <= p.target, b <= p.largestUseful()})
	}
	return lines, best
}

// recommendation says in words which backlog to choose.
func (p plan) recommendation(best int) string {
	useful := p.largestUseful()
	switch {
	case best < 0 && p.load() > 1:
		return fmt.Sprintf("No backlog turns away %g %% or less: %.1f %% more comes than one server can do. Make it faster, or have more of them.", p.target, 100*(p.load()-1))
	case best < 0:
		return fmt.Sprintf("No backlog up to %d turns away %g %% or less.", maxPlannedBacklog, p.target)
	case useful < 0:
		return fmt.Sprintf("One service takes longer than the %v that a client waits: no backlog is of use.", p.timeout)
	case best > useful:
		return fmt.Sprintf("Backlog %d turns away %g %% or less, but whoever is last in it waits %v and has given up after %v:\nfrom backlog %d on it turns refusals into timeouts. Make the server faster, or have more of them.",
			best, p.target, p.longestWait(best), p.timeout, useful+1)
	case useful == maxPlannedBacklog:
		return fmt.Sprintf("Choose a backlog from %d, the smallest that turns away %g %% or less,\nto %d, which is all that the kernel gives: even its last client is served within %v.", best, p.target, useful, p.timeout)
	}
	return fmt.Sprintf("Choose a backlog from %d, the smallest that turns away %g %% or less,\nto %d, the largest whose last client is served within %v: backlog+1 <= timeout/service.", best, p.target, useful, p.timeout)
}

func planVerb(flags *flag.FlagSet, stdout io.Writer) func(context.Context) error {
	rate := floatFlag(flags, "rate", 8, 0.001, 1e6, "`clients` a second that come, on average")
	service := durationFlag(flags, "service", 100*time.Millisecond, time.Microsecond, "`time` that the server works on each")
	target := floatFlag(flags, "target", 1, 1e-6, 100, "`percent` of them that may find the queue full")
	timeout := durationFlag(flags, "timeout", time.Second, time.Millisecond, "`time` that a client waits for its turn")
	measure := flags.Bool("measure", false, "run the kernel beside the model, with a service of 5ms at most")
	arrivals := countFlag(flags, "n", 1000, 10, 1000000, "with -measure: `clients` for each backlog")
	asJSON := flags.Bool("json", false, "print a line of JSON for each backlog")
	return func(ctx context.Context) error {
		p := plan{*rate, *service, *target, *timeout}
		if *measure {
			return inNewNetns(ctx, flags, stdout, func(own bool) error { return p.runMeasurement(ctx, stdout, *arrivals, own, *asJSON) })
		}
		return p.print(stdout, *asJSON)
	}
}

func (p plan) print(stdout io.Writer, asJSON bool) error {
	lines, best := p.rows()
	if asJSON {
		for _, l := range lines {
			line, _ := json.Marshal(l)
			fmt.Fprintf(stdout, "%s\n", line)
		}
		return nil
	}
	fmt.Fprintf(stdout, "%g clients a second, %v of work each: load %.3g\n\n  backlog   turned away   longest wait\n", p.rate, p.service, p.load())
	for _, l := range lines {
		mark := ""
		if l.Backlog == best {
			mark = "  <- the first within the target"
		} else if !l.InTime {
			mark = fmt.Sprintf("  more than %v", p.timeout)
		}
		fmt.Fprintf(stdout, "  %7d %11.4f %%   %12v%s\n", l.Backlog, l.Lost, p.longestWait(l.Backlog), mark)
	}
	_, err := fmt.Fprintf(stdout, "\n%s\n", p.recommendation(best))
	return err
}
