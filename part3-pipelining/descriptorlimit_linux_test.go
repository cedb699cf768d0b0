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

// residentMemory returns the resident memory of the process pid, in bytes:
// proc(5).
func residentMemory(t testing.TB, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	require.NoError(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	require.NoError(t, err)
	return pages * os.Getpagesize()
}

// limitDescriptors sets the descriptor limit of the process pid to n:
// prlimit(2).
func limitDescriptors(t testing.TB, pid int, n uint64) {
	t.Helper()
	require.NoError(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}, nil))
}

// requireDescriptors skips the test if this process may not have n descriptors
// open.
func requireDescriptors(t testing.TB, n uint64) {
	t.Helper()
	var l unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &l))
	if l.Cur < n {
		t.Skipf("the limit is %d descriptors, the test needs %d: ulimit -n", l.Cur, n)
	}
}
