package main

import (
	"testing"
	"time"
)

// give sends v on c, or ends the test.
func give[T any](t testing.TB, c chan<- T, v T, what string) {
	t.Helper()
	select {
	case c <- v:
	case <-time.After(patience()):
		inVain.Add(1)
		t.Fatalf("waited in vain for: %s", what)
	}
}
