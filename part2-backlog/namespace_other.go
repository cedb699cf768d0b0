//go:build !linux

package main

import (
	"context"
	"flag"
	"io"
)

// inNewNetns runs rest here: only Linux has network namespaces.
func inNewNetns(_ context.Context, _ *flag.FlagSet, _ io.Writer, rest func(own bool) error) error {
	return rest(false)
}
