package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/server"
	"socketup/part3-pipelining/socket"
)

// withFreeDescriptors calls f while this process can open n descriptors and no more.
func withFreeDescriptors(t *testing.T, n int, f func()) {
	t.Helper()
	var was unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	low := was
	low.Cur = uint64(len(openFiles(t)) + n + 64) // more than are open, if some are missing in between
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &low))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	var taken []int
	defer func() {
		for _, fd := range taken {
			unix.Close(fd)
		}
	}()
	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			require.ErrorIs(t, err, unix.EMFILE)
			break
		}
		taken = append(taken, fd)
	}
	for range n {
		unix.Close(taken[0])
		taken = taken[1:]
	}
	f()
}

// openFiles are the files that this process has open, by descriptor.
func openFiles(t *testing.T) map[string]string {
	t.Helper()
	open := map[string]string{}
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, e := range entries {
		if file, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil { // ReadDir's own is closed by now
			open[e.Name()] = file
		}
	}
	return open
}

// requireNoLeakedFiles wants f to close all that it opens.
func requireNoLeakedFiles(t *testing.T, what string, f func()) {
	t.Helper()
	before := openFiles(t)
	f()
	left := openFiles(t)
	maps.DeleteFunc(left, func(fd, file string) bool { return before[fd] == file })
	assert.Empty(t, left, "house rule: %s leaves nothing open", what)
}

// A server that cannot be made, because the descriptors do not suffice, gives
// back those that it had got, and the listening socket.
func TestFailedServerStartLeaksNoDescriptor(t *testing.T) {
	startServer(t) // Go's runtime opens descriptors of its own for the first
	for free := range runtime.GOMAXPROCS(0) {
		requireNoLeakedFiles(t, fmt.Sprintf("newServer with %d descriptors, one for each loop but one (server.go, newServer)", free), func() {
			fd, err := socket.Listen("127.0.0.1:0", backlog)
			require.NoError(t, err)
			withFreeDescriptors(t, free, func() {
				_, err = server.New(fd, routes(), server.DefaultLimits, slog.New(slog.DiscardHandler))
			})
			require.ErrorIs(t, err, unix.EMFILE)
		})
	}
}

// accept(2) takes a descriptor before it looks into the queue: without one it fails,
// though nobody may be waiting.
func TestOutOfDescriptorsWithAnEmptyQueueClosesNoIdleConnection(t *testing.T) {
	r := startServer(t)
	kept := converse(t, r.addr, get("/"))
	in := bufio.NewReader(kept)
	_, _, err := readResponse(in)
	require.NoError(t, err)
	withFreeDescriptors(t, 2, func() { // the other client's and its server's
		converse(t, r.addr, get("/"))
		eventually(t, "it is accepted", func() bool { return r.Connections() == 2 })
		idle := time.Now()
		eventually(t, "both have been idle for longer than the second that a crowd lets them", func() bool { return time.Since(idle) > 3*time.Second/2 })
	})

	io.WriteString(kept, get("/"))
	_, _, err = readResponse(in)
	require.NoError(t, err, "house rule: idle clients are hurried for those that wait (server.go, serve)")
	assert.NotContains(t, r.logs.String(), "accept", "house rule: a shortage that nobody waits for is none (server.go, serve)")
}
