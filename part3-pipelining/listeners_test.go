package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whose socket it is, and how many bytes wait in it: what Linux says of sockets in
// /proc. Where there is no /proc, no socket is found.

// listeners returns the processes that have the socket that listens on addr, and those
// of them whose parents do not have it.
func listeners(t testing.TB, addr string) (all, first []int) {
	t.Helper()
	inode := ""
	for _, socket := range sockets(t, netip.MustParseAddrPort(addr).Port()) {
		if socket.state == "0A" { // it listens
			inode = socket.inode
		}
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	require.NoError(t, err)
	parents := map[int]int{}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == "socket:["+inode+"]" {
			var pid, parent int
			fmt.Sscanf(link, "/proc/%d/", &pid)
			if fields := statOf(pid); len(fields) > 1 {
				fmt.Sscan(fields[1], &parent)
			}
			parents[pid] = parent
		}
	}
	for pid, parent := range parents {
		all = append(all, pid)
		if _, inherited := parents[parent]; !inherited {
			first = append(first, pid)
		}
	}
	return all, first
}

// statOf returns what /proc says of a process after its name: state, parent, …
func statOf(pid int) []string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return strings.Fields(string(text[strings.LastIndex(string(text), ")")+1:]))
}

func areStopped(pids []int) bool {
	return !slices.ContainsFunc(pids, func(pid int) bool { fields := statOf(pid); return len(fields) == 0 || fields[0] != "T" })
}

func signalAll(t testing.TB, pids []int, signal syscall.Signal) {
	t.Helper()
	for _, pid := range pids {
		require.NoError(t, syscall.Kill(pid, signal))
	}
}

// A kernelSocket is a line of /proc/net/tcp.
type kernelSocket struct {
	peer   uint16 // the client's port
	state  string // 0A for one that listens, 01 for one that is connected
	unread int    // bytes that its owner has not read
	inode  string
}

// sockets returns the sockets with this port of their own.
func sockets(t testing.TB, port uint16) (all []kernelSocket) {
	t.Helper()
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, _ := os.ReadFile(file)
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) < 10 || !strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				continue
			}
			s := kernelSocket{state: fields[3], inode: fields[9]}
			fmt.Sscanf(fields[2][strings.Index(fields[2], ":")+1:], "%X", &s.peer)
			fmt.Sscanf(fields[4][strings.Index(fields[4], ":")+1:], "%X", &s.unread)
			all = append(all, s)
		}
	}
	return all
}
