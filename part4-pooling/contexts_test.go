package main

import (
	"context"
	"testing"
)

// testContext is a context for what a test waits for itself.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience())
	t.Cleanup(cancel)
	return ctx
}
