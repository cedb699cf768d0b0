package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// progress shows that time passes, on a terminal, until stop is called.
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

// sleepContext waits for d, and says whether ctx still goes on.
func sleepContext(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
