package main

import (
	"sync"
	"testing"
)

// waitGroup waits until all goroutines of a group have ended, or fails the
// test.
func waitGroup(t testing.TB, group *sync.WaitGroup, what string) {
	t.Helper()
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }() // ends with the last goroutine of the group
	receiveWithin(t, 3*patience(), done, what)
}
