package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// residentMemory is the memory that pid occupies, in bytes.
func residentMemory(t testing.TB, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	require.NoError(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	require.NoError(t, err)
	return pages * os.Getpagesize()
}

// limitDescriptors takes all but n away from pid.
func limitDescriptors(t testing.TB, pid int, n uint64) {
	t.Helper()
	require.NoError(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}, nil))
}

// requireDescriptors skips the test if n cannot be open at once.
func requireDescriptors(t testing.TB, n uint64) {
	t.Helper()
	var l unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &l))
	if l.Cur < n {
		t.Skipf("%d descriptors may be open, the test needs %d: ulimit -n", l.Cur, n)
	}
}
