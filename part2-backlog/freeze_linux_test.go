package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// runFreeze runs freeze to its end.
func runFreeze(t testing.TB, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := programCommand(t, append([]string{"freeze"}, args...)...)
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	status = exitStatus(t, cmd.Run())
	return status, out.String(), errors.String()
}

func ownExecutable(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return path
}

func TestFreezeCountsClientsAdmittedByTheBacklog(t *testing.T) {
	t.Parallel()
	status, stdout, stderr := runFreeze(t, "--", ownExecutable(t), "serve", "-addr", "{addr}", "-backlog", "3")

	require.Zero(t, status, stderr)
	requireNarrow(t, stdout)
	requireInOrder(t, stdout, "serve -addr 127.0.0.1:", "1 process stopped", "4 clients got in, the next was ignored", "limit 3: the server called listen(fd, 3)")
}

func TestFreezeResumesAServerItDidNotStart(t *testing.T) {
	t.Parallel()
	cmd, addr, _ := startServing(t, "-backlog", "5")
	_, port, _ := strings.Cut(addr, ":")
	for _, which := range [][]string{{"-pid", strconv.Itoa(cmd.Process.Pid)}, {"-port", port}} {
		status, stdout, stderr := runFreeze(t, append(which, "-json")...)

		require.Zero(t, status, stderr)
		var f freezeResult
		require.NoError(t, json.Unmarshal([]byte(stdout), &f))
		assert.Equal(t, freezeResult{Server: f.Server, Listener: addr, Processes: []int{cmd.Process.Pid}, Admitted: 6, Limit: 5, Somaxconn: f.Somaxconn, Why: f.Why}, f)
		sendAndRead(t, addr, "house rule: a server is left as it was found", "freeze_linux.go, resumeAll", get).wantPrefix(t, "HTTP/1.1 200 OK\r\n")
		eventually(t, "the server has got rid of freeze's clients", func() bool {
			all, err := heldListeners(mustSockets(t, cmd.Process.Pid), 0)
			return err == nil && len(all) == 1 && all[0].Waiting == 0
		})
	}
}

func TestFreezeLeavesAStoppedServerStopped(t *testing.T) {
	t.Parallel()
	cmd, _, _ := startServing(t, "-backlog", "1")
	pid := cmd.Process.Pid
	require.NoError(t, stopAndWait(pid))

	status, stdout, stderr := runFreeze(t, "-pid", strconv.Itoa(pid))

	require.Zero(t, status, stderr)
	assert.Contains(t, stdout, "2 clients got in")
	p, err := readProcess(pid)
	require.NoError(t, err)
	assert.Equal(t, "T", string(p.state), "house rule: a server is left as it was found. freeze_linux.go, stopProcess")
}

// With TCP_DEFER_ACCEPT a client that says nothing is let in, and is not queued.
func TestFreezeTrustsTheKernelOverItsClients(t *testing.T) {
	t.Parallel()
	fd, addr := startListening(t, "127.0.0.1:0", 3)
	require.NoError(t, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 10))
	all, err := heldListeners(mustSockets(t, os.Getpid()), int(localAddr(fd).Port()))
	require.NoError(t, err)
	require.Len(t, all, 1)
	f := freezer{listener: all[0]}

	err = f.countAdmitted(t.Context(), 100)

	assert.ErrorContains(t, err, "are in this queue: the server has several sockets on "+addr+" (SO_REUSEPORT), or TCP_DEFER_ACCEPT")
}

func mustSockets(t testing.TB, pid int) map[int]bool {
	t.Helper()
	held, err := socketInodes(pid)
	require.NoError(t, err)
	return held
}

func TestFreezeExplainsWhyItFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ args, says string }{
		"it dies":             {"-- sh -c false", "sh ended (exit status 1) before it listened on a TCP port, and printed nothing"},
		"its child dies":      {"-- sh -c false&", "sh ended (exit status 0) before it listened on a TCP port, and printed nothing"},
		"it complains":        {"-- ls /no-such-thing", "It printed:\nls: "},
		"it never listens":    {"-wait 50ms -- sleep 60", "sleep has not listened on a TCP port within 50ms; -wait gives it longer"},
		"another port":        {"-wait 50ms -- sleep {port}", "sleep has not listened on port "},
		"no such command":     {"-- /no-such-thing", "cannot start /no-such-thing: fork/exec /no-such-thing: no such file"},
		"no such process":     {"-pid 4194304", "there is no process 4194304"},
		"nobody listens":      {"-port 1", "no process listens on TCP port 1"},
		"more than it counts": {"-most 2 -- " + ownExecutable(t) + " serve -addr {addr} -backlog 5", "gave up: 2 clients are in, and the queue (limit 5) takes more"},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := runFreeze(t, strings.Fields(c.args)...)

			assert.Equal(t, 1, status)
			assert.Contains(t, stderr, c.says)
			assert.Empty(t, stdout)
		})
	}
}

// A shell that ignores SIGTERM, with a server that it has put in the background
// and orphaned: everything is ended all the same.
func TestFreezeLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	script := fmt.Sprintf(`trap "" TERM; (%s serve -addr {addr} -backlog 1 & echo $! >>%[2]s); echo $$ >>%[2]s; while :; do sleep 1; done`, ownExecutable(t), pids)

	status, stdout, stderr := runFreeze(t, "--", "sh", "-c", script)

	require.Zero(t, status, stderr)
	assert.Contains(t, stdout, "2 clients got in")
	text, err := os.ReadFile(pids)
	require.NoError(t, err)
	require.Len(t, strings.Fields(string(text)), 2)
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		require.NoError(t, err)
		assert.Equal(t, unix.ESRCH, unix.Kill(pid, 0), "process %d must be gone", pid)
	}
}

func TestInterruptedFreezeEndsWhatItStarted(t *testing.T) {
	t.Parallel()
	pid := filepath.Join(t.TempDir(), "pid")
	cmd := programCommand(t, "freeze", "-wait", "1h", "--", "sh", "-c", "echo $$ >"+pid+"; exec sleep 1000")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	var child int
	eventually(t, "the command runs", func() bool {
		text, _ := os.ReadFile(pid)
		_, err := fmt.Sscan(string(text), &child)
		return err == nil
	})

	require.NoError(t, cmd.Process.Signal(os.Interrupt))

	assert.Equal(t, exitInterrupted, exitStatus(t, waitExit(t, cmd)))
	assert.Equal(t, "interrupted\n", stderr.String())
	assert.Equal(t, unix.ESRCH, unix.Kill(child, 0))
}
