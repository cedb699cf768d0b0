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

// withFreeDescriptors calls f while this process can open exactly n more
// descriptors.
func withFreeDescriptors(t *testing.T, n int, f func()) {
	t.Helper()
	var was unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	low := was
	low.Cur = uint64(len(openFiles(t)) + n + 64) // above the highest open descriptor, even if numbers below it are free
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

// openFiles returns the files that this process has open, by descriptor.
func openFiles(t *testing.T) map[string]string {
	t.Helper()
	open := map[string]string{}
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, e := range entries {
		if file, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil { // fails for ReadDir's own descriptor, which is closed by now
			open[e.Name()] = file
		}
	}
	return open
}

// requireNoLeakedFiles fails the test if f leaves a descriptor open.
func requireNoLeakedFiles(t *testing.T, what string, f func()) {
	t.Helper()
	before := openFiles(t)
	f()
	left := openFiles(t)
	maps.DeleteFunc(left, func(fd, file string) bool { return before[fd] == file })
	assert.Empty(t, left, "house rule: %s leaves no descriptor open", what)
}

// A server that cannot start for lack of descriptors closes those it has
// opened, and the listening socket.
func TestFailedServerStartLeaksNoDescriptor(t *testing.T) {
	startServer(t) // the Go runtime opens descriptors of its own for the first server
	for free := range runtime.GOMAXPROCS(0) {
		requireNoLeakedFiles(t, fmt.Sprintf("New with %d descriptors, one for each loop but one (server.go, New)", free), func() {
			fd, err := socket.Listen("127.0.0.1:0", backlog)
			require.NoError(t, err)
			withFreeDescriptors(t, free, func() {
				_, err = server.New(fd, routes(), server.DefaultLimits, slog.New(slog.DiscardHandler))
			})
			require.ErrorIs(t, err, unix.EMFILE)
		})
	}
}

// accept(2) allocates a descriptor before it looks at the accept queue: without
// one it fails even if no connection is queued.
func TestOutOfDescriptorsWithAnEmptyQueueClosesNoIdleConnection(t *testing.T) {
	r := startServer(t)
	kept := converse(t, r.addr, get("/"))
	in := bufio.NewReader(kept)
	_, _, err := readResponse(in)
	require.NoError(t, err)
	withFreeDescriptors(t, 2, func() { // for the second client and the server's end of its connection
		converse(t, r.addr, get("/"))
		eventually(t, "it is accepted", func() bool { return r.Connections() == 2 })
		idle := time.Now()
		eventually(t, "both have been idle for longer than the second allowed at capacity", func() bool { return time.Since(idle) > 3*time.Second/2 })
	})

	io.WriteString(kept, get("/"))
	_, _, err = readResponse(in)
	require.NoError(t, err, "house rule: idle connections are closed early for clients that wait (server.go, Serve)")
	assert.NotContains(t, r.logs.String(), "accept", "house rule: no idle connection is closed when no client waits (server.go, Serve)")
}
