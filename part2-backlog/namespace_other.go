//go:build !linux

package main

import (
	"context"
	"flag"
	"io"
)

// inNewNetns has no such thing here.
func inNewNetns(_ context.Context, _ *flag.FlagSet, _ io.Writer, rest func(own bool) error) error {
	return rest(false)
}
