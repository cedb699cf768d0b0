package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary be the program, so that tests can start it.
func TestMain(m *testing.M) {
	if os.Getenv("BE_THE_PROGRAM") != "" {
		main()
	} else if os.Getenv("BE_THE_WITNESS") != "" {
		beWitness()
	}
	callWitness()
	waitTogether()
	os.Exit(m.Run())
}

// programCommand is this part's program with args, ready to start; it is killed when
// the test ends, or when it has run for a long time.
func programCommand(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	skipIfJudging(t)
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 4*maxWait)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.WaitDelay = time.Second
	killWithTest(t, cmd)
	// A program under -race waits a second at its end, unless told not to.
	cmd.Env = append(os.Environ(), "BE_THE_PROGRAM=yes", "GORACE=atexit_sleep_ms=0")
	return cmd
}

// startServing starts `serve` and returns it with the address that it prints first,
// and with what it logs.
func startServing(t testing.TB, args ...string) (cmd *exec.Cmd, addr string, logged *bufio.Reader) {
	t.Helper()
	cmd = programCommand(t, append([]string{"serve", "-addr", "127.0.0.1:0"}, args...)...)
	addr, logged = awaitReady(t, cmd)
	return cmd, addr, logged
}

// startServingUnder starts `serve` as the last arguments of another command.
func startServingUnder(t testing.TB, command ...string) (cmd *exec.Cmd, addr string, logged *bufio.Reader) {
	t.Helper()
	cmd = programCommand(t, "serve", "-addr", "127.0.0.1:0")
	path, err := exec.LookPath(command[0])
	require.NoError(t, err)
	cmd.Path, cmd.Args = path, append(command, cmd.Args...)
	addr, logged = awaitReady(t, cmd)
	return cmd, addr, logged
}

// awaitReady starts a server and waits until it listens.
func awaitReady(t testing.TB, cmd *exec.Cmd) (addr string, logged *bufio.Reader) {
	t.Helper()
	stdout, stderr := outputPipes(t, cmd)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, "the first line on stdout")
	require.Regexp(t, `^listening on http://127\.0\.0\.1:\d+\n$`, line)
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on http://")), bufio.NewReader(stderr)
}

// awaitLog reads what the program logs up to a line that contains text.
func awaitLog(t testing.TB, logged *bufio.Reader, text string) {
	t.Helper()
	for {
		line, err := logged.ReadString('\n')
		require.NoError(t, err, "the log ends without %q", text)
		if strings.Contains(line, text) {
			return
		}
	}
}

func TestSignalEndsTheProgramWithStatusZero(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		cmd, addr, _ := startServing(t)
		sendAndRead(t, addr, "", "", get).wantPrefix(t, "HTTP/1.1 200 OK\r\n")

		require.NoError(t, cmd.Process.Signal(signal))

		assert.NoError(t, waitExit(t, cmd), "exit status after %v", signal)
	}
}

// Clients that never close keep the server busy: each is lingered for.
func TestSecondSignalEndsTheProgramAtOnce(t *testing.T) {
	t.Parallel()
	cmd, addr, logged := startServing(t, "-grace", "1h")
	for range 20 {
		io.WriteString(dial(t, addr), get)
	}

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Process.Signal(os.Interrupt)) // another one: two of a kind may arrive as one

	awaitLog(t, logged, "second signal")
	assert.Equal(t, 1, exitStatus(t, waitExit(t, cmd)))
}

// 60 are queued and there are descriptors for some 15 at a time.
func TestStopAnswersMoreConnectionsThanDescriptors(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("macOS drops the connection that it has no descriptor for")
	}
	cmd, addr, logged := startServingUnder(t, "sh", "-c", `ulimit -n 24; exec "$0" "$@"`)
	first := dial(t, addr)
	io.WriteString(first, get[:10])
	var clients []*net.TCPConn
	for range 60 {
		c := dial(t, addr)
		io.WriteString(c, get)
		clients = append(clients, c)
	}

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	awaitLog(t, logged, "stopping")
	io.WriteString(first, get[10:])

	first.Close() // it may have been too slow for a stop
	for _, c := range clients {
		s := transcript{sent: get, rule: "house rule: a stop loses nobody who is queued", look: "server.go, drain"}.readAll(c)
		s.wantCleanEnd(t)
		s.wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	}
	assert.Zero(t, exitStatus(t, waitExit(t, cmd)))
}

func TestGraceLimitsTheStop(t *testing.T) {
	t.Parallel()
	cmd, addr, logged := startServing(t, "-grace", "10ms")
	for range 20 {
		io.WriteString(dial(t, addr), get)
	}

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))

	awaitLog(t, logged, "grace is over after 10ms")
	assert.Equal(t, 1, exitStatus(t, waitExit(t, cmd)))
}

// exitStatus is what cmd.Wait tells of it.
func exitStatus(t testing.TB, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	require.NoError(t, err)
	return 0
}

func TestBadCommandLinesAreRefusedInOneSentence(t *testing.T) {
	t.Parallel()
	taken := startServer(t)
	for name, c := range map[string]struct {
		args   string
		status int
		says   string
	}{
		"unknown flag":    {"-bogus", 2, "flag provided but not defined: -bogus"},
		"unknown verb":    {"dance", 2, `unknown verb "dance"`},
		"extra argument":  {"serve now", 2, `unexpected argument "now"`},
		"negative grace":  {"-grace -1s", 2, "bad grace -1s"},
		"bad grace":       {"-grace soon", 2, `invalid value "soon" for flag -grace`},
		"no port":         {"-addr 127.0.0.1", 1, `bad address "127.0.0.1": want an IP address and a port, such as`},
		"a name":          {"-addr example.com:80", 1, `bad address "example.com:80": want an IP address`},
		"port too high":   {"-addr 127.0.0.1:65536", 1, `bad address "127.0.0.1:65536"`},
		"a zone":          {"-addr [fe80::1%lo]:0", 1, "bad address"},
		"taken port":      {"-addr " + taken.addr, 1, "cannot listen on " + taken.addr + ": address already in use; stop the program that has the port"},
		"foreign address": {"-addr 203.0.113.1:0", 1, "cannot listen on 203.0.113.1:0: cannot assign requested address; no interface of this machine"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer

			status := run(strings.Fields(c.args), &stdout, &stderr)

			assert.Equal(t, c.status, status)
			assert.Contains(t, stderr.String(), c.says)
			assert.Empty(t, stdout.String())
			assert.Equal(t, 1, strings.Count(stderr.String(), "usage:")+c.status%2, "the usage once, or not at all")
		})
	}
}

// A port below 1024 needs a privilege: drop it in a child if we have it.
func TestPrivilegedPortSaysWhatToDo(t *testing.T) {
	t.Parallel()
	cmd := programCommand(t, "serve", "-addr", "127.0.0.1:1")
	if os.Geteuid() == 0 {
		const nobody = 65534
		cmd.Path = "/proc/self/exe" // a link that needs no right to search the directories
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	if first, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err != nil || strings.TrimSpace(string(first)) == "0" {
		t.Skip("on this system everybody may listen on port 1")
	}

	var output bytes.Buffer
	cmd.Stderr = &output
	if err := cmd.Start(); err != nil {
		t.Skip("this root cannot become another user: ", err)
	}

	assert.Equal(t, 1, exitStatus(t, waitExit(t, cmd)))
	assert.Contains(t, output.String(), "cannot listen on 127.0.0.1:1: permission denied; ports below 1024 belong to root")
}

func TestHelpIsPrintedWhereItWasAskedFor(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	for _, verb := range []string{"serve", "demo"} {
		var asked, none, nothing, wrong bytes.Buffer

		assert.Zero(t, run([]string{verb, "-h"}, &asked, &none))
		assert.Equal(t, 2, run([]string{verb, "-nonsense"}, &nothing, &wrong))

		assert.Contains(t, asked.String(), "example: part1-hello serve -addr [::1]:0", "%s -h | less shows it", verb)
		assert.Empty(t, none.String(), verb)
		assert.Empty(t, nothing.String(), verb)
		assert.Equal(t, "flag provided but not defined: -nonsense\n"+asked.String(), wrong.String(), verb)
	}
}

// demo is run as the reader runs it: what it claims must be so on this machine.
func TestDemoShowsOneConnectionAndTwoWaysToClose(t *testing.T) {
	t.Parallel()
	output, err := programCommand(t, "demo").CombinedOutput()

	require.NoError(t, err, "%s", output)
	text := string(output)
	t.Log("\n" + text)
	requireNarrow(t, text)
	if runtime.GOOS == "linux" && !strings.Contains(text, "cannot trace") {
		requireInOrder(t, text, "socket(AF_INET", "bind(", "listen(", "accept4(", "read(", "write(", "shutdown(", `read(`, `"") = 0`, "close(")
	}
	requireInOrder(t, text, `sends "GET / HTTP/1.1`, `receives "HTTP/1.1 200 OK`, `receives "Hello, World!`, "reads the end")
	assert.Regexp(t, `lingers \(part 1\) +200 / 200 +0\n`, text)
	assert.Regexp(t, `closes at once +200 / 200 +200\n`, text)
	assert.Regexp(t, `1 MiB +\d+ / 200 +200\n`, text)
}

// requireInOrder wants each of parts in text, one behind the other.
func requireInOrder(t testing.TB, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Fatalf("%q is not there, or not in its place, in:\n%s", part, text)
		}
		rest = after
	}
}

func TestDemoAsJSONHasEveryExperiment(t *testing.T) {
	t.Parallel()
	output, err := programCommand(t, "demo", "-json").Output()
	if err != nil {
		t.Skip("system calls cannot be traced here: ", err)
	}

	var experiments []string
	before := 0.0
	for line := range strings.Lines(string(output)) {
		var e event
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		if len(experiments) == 0 || experiments[len(experiments)-1] != e.Experiment {
			experiments, before = append(experiments, e.Experiment), 0
		}
		assert.GreaterOrEqual(t, e.US, before, "events are in the order of their times")
		before = e.US
	}
	assert.Equal(t, []string{"one connection", "how to close"}, experiments)
	assert.Contains(t, string(output), "listen(")
}
