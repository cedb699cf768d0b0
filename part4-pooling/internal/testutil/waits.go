package testutil

import (
	"context"
	"sync"
	"testing"
	"time"
)

// MaxWait bounds every wait that could otherwise hang a test.
const MaxWait = 10 * time.Second

// Receive returns the next value from c. After MaxWait it fails the test, and
// names what.
func Receive[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(MaxWait):
		t.Fatalf("timed out waiting for: %s", what)
	}
	return v
}

// Eventually polls reached until it returns true. After MaxWait it fails the
// test, and names state.
func Eventually(t testing.TB, state string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(MaxWait); !reached(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting until %s", state)
		}
	}
}

// WaitGroup waits until group is done. After three times MaxWait it fails the
// test, and names what.
func WaitGroup(t testing.TB, group *sync.WaitGroup, what string) {
	t.Helper()
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }() // ends with the group
	select {
	case <-done:
	case <-time.After(3 * MaxWait):
		t.Fatalf("timed out waiting for: %s", what)
	}
}

// Send sends v on c. After MaxWait it fails the test, and names what.
func Send[T any](t testing.TB, c chan<- T, v T, what string) {
	t.Helper()
	select {
	case c <- v:
	case <-time.After(MaxWait):
		t.Fatalf("timed out waiting for: %s", what)
	}
}

// TestContext returns a context for the test's own waits. It ends after MaxWait,
// or with the test.
func TestContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), MaxWait)
	t.Cleanup(cancel)
	return ctx
}
