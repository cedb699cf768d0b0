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

// blockingProbabilities returns, for each backlog from 0 to most, the fraction of
// clients that find the queue full. The model is the M/D/1/K queue: arrivals are random
// (M, a Poisson process), every service takes the same time (D), there is one server,
// and K = backlog + 2 clients fit in: one in service, backlog + 1 in Linux's queue.
// Clients that do not fit are lost. load is the mean number of arrivals during one
// service.
//
// Let left[j] be the probability that a client leaves j others behind when its service
// ends. In the long run that number rises past j as often as it falls past j:
//
//	left[j+1] × P(no arrival) = left[0] × P(> j arrivals) + Σ left[i] × P(> j-i+1 arrivals), i = 1…j
//
// This gives left up to a factor, for every K at once; for a given K, the factor makes
// the first K-1 of them sum to 1. The server idles after a service with
// probability left[0], for 1/load services on average: from that follow the fraction
// of clients let in, and the fraction lost.
func blockingProbabilities(load float64, most int) []float64 {
	if load > 50 { // the server never idles, and exp(-load) is soon too small for a float
		return slices.Repeat([]float64{1 - 1/load}, most+1)
	}
	more := poissonTails(load) // more[n] is P(> n arrivals during a service)
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
		lost = append(lost, 1-1/(1/sum+load)) // sum is over the states 0 to j+1
		if sum > 1e100 {                      // 1/sum has vanished: larger backlogs lose as much
			for len(lost) <= most {
				lost = append(lost, 1-1/load)
			}
		}
	}
	return lost
}

// poissonTails returns P(> n) of the Poisson distribution for n = 0, 1, …, until it is
// negligible.
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

// A plan is the input of the question which backlog to choose.
type plan struct {
	rate    float64       // clients a second
	service time.Duration // server time that each client takes
	target  float64       // percent that may be turned away
	timeout time.Duration // how long a client waits
}

func (p plan) load() float64 { return p.rate * p.service.Seconds() }

// longestWait returns how long the last client that fits into the queue may wait for
// its service to begin.
func (p plan) longestWait(backlog int) time.Duration { return time.Duration(backlog+1) * p.service }

// largestUseful returns the largest backlog whose last client is served before its
// timeout, at most what the kernel allows, or -1 if there is none.
func (p plan) largestUseful() int { return int(min(p.timeout/p.service-1, maxPlannedBacklog)) }

const maxPlannedBacklog = 4096 // what net.core.somaxconn allows since Linux 5.4

// A planRow describes one backlog.
type planRow struct {
	Backlog int     `json:"backlog"`
	Lost    float64 `json:"lost_percent"`
	WaitMS  float64 `json:"longest_wait_ms"`
	Meets   bool    `json:"meets_target"`
	InTime  bool    `json:"in_time"` // backlog+1 ≤ timeout / service
}

// rows returns a row for each of some backlogs; best is the smallest backlog that meets
// the target, or -1 if none does.
func (p plan) rows() (lines []planRow, best int) {
	lost := blockingProbabilities(p.load(), maxPlannedBacklog)
	best = slices.IndexFunc(lost, func(l float64) bool { return 100*l <= p.target })
	shown := []int{0, 1, 2, 3, 5, 10, 20, 50, 128, 511, maxPlannedBacklog}
	if best >= 0 && !slices.Contains(shown, best) {
		shown = append(shown, best)
		slices.Sort(shown)
	}
	for _, b := range shown {
		lines = append(lines, planRow{b, rounded(100 * lost[b]), milliseconds(p.longestWait(b)), 100*lost[b] <= p.target, b <= p.largestUseful()})
	}
	return lines, best
}

// recommendation returns which backlog to choose, in words.
func (p plan) recommendation(best int) string {
	useful := p.largestUseful()
	switch {
	case best < 0 && p.load() > 1:
		return fmt.Sprintf("No backlog turns away %g %% or less: %.1f %% more clients arrive than one server can serve. Make it faster, or run more of them.", p.target, 100*(p.load()-1))
	case best < 0:
		return fmt.Sprintf("No backlog up to %d turns away %g %% or less.", maxPlannedBacklog, p.target)
	case useful < 0:
		return fmt.Sprintf("One service takes longer than the %v that a client waits: no backlog helps.", p.timeout)
	case best > useful:
		return fmt.Sprintf("Backlog %d turns away %g %% or less, but its last client would wait %v and has given up after %v:\nfrom backlog %d on, refusals become timeouts. Make the server faster, or run more of them.",
			best, p.target, p.longestWait(best), p.timeout, useful+1)
	case useful == maxPlannedBacklog:
		return fmt.Sprintf("Choose a backlog from %d, the smallest that turns away %g %% or less,\nto %d, the most that the kernel allows: even its last client is served within %v.", best, p.target, useful, p.timeout)
	}
	return fmt.Sprintf("Choose a backlog from %d, the smallest that turns away %g %% or less,\nto %d, the largest whose last client is served within %v: backlog+1 <= timeout/service.", best, p.target, useful, p.timeout)
}

func planVerb(flags *flag.FlagSet, stdout io.Writer) func(context.Context) error {
	rate := floatFlag(flags, "rate", 8, 0.001, 1e6, "how many clients come in a second, on average")
	service := durationFlag(flags, "service", 100*time.Millisecond, time.Microsecond, "how long the server takes for each client")
	target := floatFlag(flags, "target", 1, 1e-6, 100, "how many clients of a hundred may find the queue full")
	timeout := durationFlag(flags, "timeout", time.Second, time.Millisecond, "how long a client waits to be served")
	measure := flags.Bool("measure", false, "also measure the kernel, with a service time of 5ms at most")
	arrivals := countFlag(flags, "n", 1000, 10, 1000000, "with -measure: how many clients there are for each backlog")
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
			mark = paint(stdout, green, "  <- the first within the target")
		} else if !l.InTime {
			mark = paint(stdout, red, fmt.Sprintf("  more than %v", p.timeout))
		}
		fmt.Fprintf(stdout, "  %7d %11.4f %%   %12v%s\n", l.Backlog, l.Lost, p.longestWait(l.Backlog), mark)
	}
	_, err := fmt.Fprintf(stdout, "\n%s\n", wrap(p.recommendation(best), ""))
	return err
}
