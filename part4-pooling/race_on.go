//go:build race

package main

// RaceDetector says whether the race detector watches the tests.
const RaceDetector = true
