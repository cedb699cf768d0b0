package main

import (
	"math"
	"time"
)

// How all verbs print durations.

func durationOrNone(d time.Duration) string {
	if d == 0 {
		return "none"
	}
	return d.String()
}

// rounded returns x to six decimals, which is more than anybody reads.
func rounded(x float64) float64 { return math.Round(x*1e6) / 1e6 }

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
