//go:build race

package testutil

// RaceDetector reports whether the tests were built with -race.
const RaceDetector = true
