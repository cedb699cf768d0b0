//go:build !linux

package main

import (
	"context"
	"errors"
	"os"
	"time"
)

// strace is not available here.
func strace(ctx context.Context, argv []string, stdout *os.File, see func(at time.Time, call string)) error {
	return errors.New("cannot trace: system calls are shown on Linux only; a Linux container will do")
}
