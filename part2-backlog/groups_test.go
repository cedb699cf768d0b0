package main

import (
	"sync"
	"testing"
)

// waitGroup waits until all of a group have ended, or ends the test.
func waitGroup(t testing.TB, group *sync.WaitGroup, what string) {
	t.Helper()
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }() // ends when the last of them does
	receiveWithin(t, 3*patience(), done, what)
}
