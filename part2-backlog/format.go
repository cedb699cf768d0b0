package main

import (
	"fmt"
	"strings"
	"time"
)

// How all verbs print durations and counts.

func durationOrNone(d time.Duration) string {
	if d == 0 {
		return "none"
	}
	return d.String()
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "s") {
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
