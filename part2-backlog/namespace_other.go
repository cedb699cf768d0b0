//go:build !linux

package main

import (
	"context"
	"flag"
	"io"
)

// withOwnNetwork has no such thing here.
func withOwnNetwork(_ context.Context, _ *flag.FlagSet, _ io.Writer, rest func(own bool) error) error {
	return rest(false)
}
