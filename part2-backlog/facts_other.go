//go:build !linux

package main

import (
	"context"
	"flag"
	"io"
)

func factsVerb(flags *flag.FlagSet, stdout io.Writer) func(context.Context) error {
	flags.Bool("full", false, "wait for seven retransmissions")
	flags.Bool("json", false, "print JSON")
	return func(context.Context) error { return errNotLinux }
}
