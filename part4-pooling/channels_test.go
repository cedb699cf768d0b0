package main

import (
	"testing"
	"time"
)

// send sends v on c, or fails the test after patience.
func send[T any](t testing.TB, c chan<- T, v T, what string) {
	t.Helper()
	select {
	case c <- v:
	case <-time.After(patience()):
		failedWaits.Add(1)
		t.Fatalf("timed out waiting for: %s", what)
	}
}
