//go:build race

package testutil

// RaceDetector says whether the race detector watches the tests.
const RaceDetector = true
