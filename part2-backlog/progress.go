package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// progress shows the elapsed time on w, if that is a terminal, until stop is called. stop
// waits for the goroutine.
func progress(w io.Writer) (stop func()) {
	if !isTerminal(w) {
		return func() {}
	}
	quit, done, began := make(chan struct{}), make(chan struct{}), time.Now()
	go func() { // stop waits for it
		defer close(done)
		for {
			fmt.Fprintf(w, "\r    watching the kernel ... %.1f s", time.Since(began).Seconds())
			select {
			case <-quit:
				fmt.Fprint(w, "\r\x1b[K")
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() { close(quit); <-done }
}

// sleepContext sleeps for d and returns true, or false as soon as ctx is done.
func sleepContext(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
