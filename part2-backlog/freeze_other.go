//go:build !linux

package main

import (
	"context"
	"flag"
	"io"
)

func freezeVerb(flags *flag.FlagSet, stdout io.Writer) func(context.Context) error {
	return func(context.Context) error { return errNotLinux }
}
