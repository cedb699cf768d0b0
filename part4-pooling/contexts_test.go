package main

import (
	"context"
	"testing"
)

// testContext returns a context that is cancelled after patience, for the
// test's own waits.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience())
	t.Cleanup(cancel)
	return ctx
}
