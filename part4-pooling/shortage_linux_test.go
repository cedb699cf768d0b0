package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/server"
	"socketup/part4-pooling/socket"
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

// A gateway that cannot listen on its admin address does not start, and leaves
// no descriptor open.
func TestFailedAdminListenerLeaksNoDescriptor(t *testing.T) {
	taken := startServer(t)
	requireNoLeakedFiles(t, "serve that fails (main.go, serve)", func() {
		var stdout, stderr bytes.Buffer
		status := run([]string{"serve", "-addr", "127.0.0.1:0", "-admin", taken.addr}, &stdout, &stderr)

		require.Equal(t, 1, status)
		assert.Contains(t, stderr.String(), "address already in use")
	})
}

func TestGatewayOutOfDescriptorsBlamesItself(t *testing.T) {
	t.Parallel()
	back := testutil.ServeResponses(t, func(_ int, r *http.Request) string { return testutil.Response200(r.URL.Path) })
	for _, flag := range []string{"-backend", "-engine"} {
		requireBlamesItself(t, flag, back.Addr)
	}
}

func requireBlamesItself(t *testing.T, flag, backend string) {
	t.Helper()
	cmd, addr, logged := startServing(t, flag, "/b=http://"+backend, flag, "/name=http://short.example")
	c := dial(t, addr)
	transcript{sent: get("/")}.readFrom(t, c).wantPrefix(t, "HTTP/1.1 200 ") // it was accepted before the descriptors ran out
	asks := transcript{sent: get("/b"), rule: "RFC 9110 §15.6.3, §15.6.4: 502 is for a failure of the backend, 503 for one of the gateway", look: "failures.go, isLocalShortage"}

	setMaxDescriptors(t, cmd.Process.Pid, 0)
	without := asks.readFrom(t, c)
	unresolved := transcript{sent: get("/name"), rule: asks.rule, look: "resolve.go, lookupError"}.readFrom(t, c)
	setMaxDescriptors(t, cmd.Process.Pid, 1000)
	with := asks.readFrom(t, c)

	for _, s := range []transcript{without, unresolved} {
		s.wantPrefix(t, "HTTP/1.1 503 ")
		assert.Contains(t, s.got, "\r\nRetry-After: 1\r\n")
		assert.Contains(t, s.got, "the gateway cannot open another connection now\n")
	}
	awaitLog(t, logged, "too many open files")
	with.wantPrefix(t, "HTTP/1.1 200 ")
}
