package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The demo stops servers with SIGSTOP. Killed in the middle, it leaves no
// server behind, neither stopped nor running.
func TestKilledDemoLeavesNoServer(t *testing.T) {
	t.Parallel()
	cmd := programCommand(t, "demo")
	require.NoError(t, cmd.Start())
	children := func() (pids []int) {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", cmd.Process.Pid))
		for _, list := range lists {
			text, _ := os.ReadFile(list)
			for _, field := range bytes.Fields(text) {
				var pid int
				fmt.Sscan(string(field), &pid)
				pids = append(pids, pid)
			}
		}
		return pids
	}
	var started []int
	eventually(t, "the demo has stopped a server", func() bool {
		started = children()
		return slices.ContainsFunc(started, func(pid int) bool { return processState(pid) == "T" })
	})

	require.NoError(t, cmd.Process.Kill())

	require.Error(t, waitExit(t, cmd))
	eventually(t, "its servers have ended (demo_pause.go, startPausableServer)", func() bool {
		for _, pid := range started {
			if now := processState(pid); now != "" && now != "Z" {
				return false
			}
		}
		return true
	})
}

// processState returns a process's state letter from proc(5): T for stopped, Z
// for a zombie; "" when there is no such process.
func processState(pid int) string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest[:min(1, len(rest))]
}
