package testutil

import (
	"context"
	"sync"
	"testing"
	"time"
)

// MaxWait bounds every wait of a test that could otherwise hang.
const MaxWait = 10 * time.Second

// Receive receives from c, or ends the test.
func Receive[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(MaxWait):
		t.Fatalf("waited in vain for: %s", what)
	}
	return v
}

// Eventually waits until a state is reached, or ends the test.
func Eventually(t testing.TB, state string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(MaxWait); !reached(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", state)
		}
	}
}

// WaitGroup waits until all of a group have ended, or ends the test.
func WaitGroup(t testing.TB, group *sync.WaitGroup, what string) {
	t.Helper()
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }() // ends when the last of them does
	select {
	case <-done:
	case <-time.After(3 * MaxWait):
		t.Fatalf("waited in vain for: %s", what)
	}
}

// Send sends v on c, or ends the test.
func Send[T any](t testing.TB, c chan<- T, v T, what string) {
	t.Helper()
	select {
	case c <- v:
	case <-time.After(MaxWait):
		t.Fatalf("waited in vain for: %s", what)
	}
}

// TestContext is a context for what a test waits for itself.
func TestContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), MaxWait)
	t.Cleanup(cancel)
	return ctx
}
