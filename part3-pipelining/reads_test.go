package main

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// readFull fills b from c, or fails the test.
func readFull(t testing.TB, c io.Reader, b []byte) {
	t.Helper()
	n, err := io.ReadFull(c, b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		failedWaits.Add(1)
	}
	require.NoError(t, err, "%d of %d bytes arrived", n, len(b))
}
