package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary be the program, so that tests can start it.
func TestMain(m *testing.M) {
	if os.Getenv("BE_THE_PROGRAM") != "" {
		main()
	}
	os.Exit(m.Run())
}

// program is this part's program with args, ready to start; it is killed when
// the test ends.
func program(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	if os.Getenv("SERVER") != "" {
		t.Skip("about our own program: not for the one in $SERVER")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, args...)
	// A program under -race waits a second at its end, unless told not to.
	cmd.Env = append(os.Environ(), "BE_THE_PROGRAM=yes", "GORACE=atexit_sleep_ms=0")
	return cmd
}

// serving starts `serve` and returns it with the address that it prints first,
// and with what it logs.
func serving(t testing.TB, args ...string) (cmd *exec.Cmd, addr string, logged *bufio.Reader) {
	t.Helper()
	cmd = program(t, append([]string{"serve", "-addr", "127.0.0.1:0"}, args...)...)
	addr, logged = startProgram(t, cmd)
	return cmd, addr, logged
}

func startProgram(t testing.TB, cmd *exec.Cmd) (addr string, logged *bufio.Reader) {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, "the first line on stdout")
	require.Regexp(t, `^listening on http://127\.0\.0\.1:\d+\n$`, line)
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on http://")), bufio.NewReader(stderr)
}

// logs reads what the program logs up to a line that contains text.
func logs(t testing.TB, logged *bufio.Reader, text string) {
	t.Helper()
	for {
		line, err := logged.ReadString('\n')
		require.NoError(t, err, "the log ends without %q", text)
		if strings.Contains(line, text) {
			return
		}
	}
}

// A stop answers what is in flight, through to the backend and back.
func TestStopAnswersWhoWaitsForABackend(t *testing.T) {
	t.Parallel()
	asked, release := make(chan bool), make(chan bool)
	s := answering(t, func(int, *http.Request) string {
		asked <- true
		<-release
		return saying("ok")
	})
	cmd, addr, logged := serving(t, "-backend", "http://"+s.addr, "-admin", "127.0.0.1:0")
	c := converse(t, addr, get("/"))
	<-asked

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	logs(t, logged, "stopping")
	release <- true

	a := story{sent: get("/"), rule: "house rule: what was read is answered, also by a server that stops", look: "main.go, serve"}.hear(c)
	assert.Equal(t, []string{"ok"}, a.bodies(t, 1))
	assert.NoError(t, cmd.Wait(), "exit status")
}

func TestSecondSignalEndsTheProgramAtOnce(t *testing.T) {
	t.Parallel()
	cmd, addr, logged := serving(t, "-grace", "1h")
	converse(t, addr, get("/sleep/60s"))
	c := converse(t, addr, get("/"))
	expect(t, c, story{}, "HTTP/1.1 200")

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	logs(t, logged, "stopping")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))

	logs(t, logged, "second signal")
	assert.Equal(t, 1, exitStatus(cmd.Wait()))
}

func exitStatus(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

func TestBadCommandLinesAreRefusedInOneSentence(t *testing.T) {
	t.Parallel()
	taken := start(t)
	for name, c := range map[string]struct {
		args   string
		status int
		says   string
	}{
		"unknown flag":      {"-bogus", 2, "flag provided but not defined: -bogus"},
		"unknown verb":      {"dance", 2, `unknown verb "dance"`},
		"extra argument":    {"serve now", 2, `unexpected argument "now"`},
		"bad limit":         {"-head 10", 2, "-head 10: want 256 to 32768"},
		"no connections":    {"-backend-connections 0", 2, "want at least 1"},
		"no head time":      {"-backend-head-time 0s", 2, "-backend-head-time, -backend-body-time and -backend-continue-time: want more than 0"},
		"a backend by name": {"-backend http://example.org:80", 2, `bad address "example.org:80"`},
		"a backend path":    {"-backend http://127.0.0.1:80/x", 2, `bad backend "http://127.0.0.1:80/x": want http://127.0.0.1:9000 or`},
		"an https backend":  {"-backend https://127.0.0.1:443", 2, "bad backend"},
		"no URL":            {"get", 2, "want a URL"},
		"get of a name":     {"get http://example.org/", 1, "not every URL could be fetched"},
		"taken port":        {"-addr " + taken.addr, 1, "cannot listen on " + taken.addr + ": address already in use; stop the program that has the port"},
		"taken admin port":  {"-addr 127.0.0.1:0 -admin " + taken.addr, 1, "cannot listen on " + taken.addr},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer

			status := run(strings.Fields(c.args), &stdout, &stderr)

			assert.Equal(t, c.status, status)
			assert.Contains(t, stderr.String(), c.says)
			assert.NotContains(t, stdout.String(), "listening on")
		})
	}
}

func TestHelpShowsAnExample(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer

	status := run([]string{"-h"}, &stdout, &stderr)

	assert.Zero(t, status)
	assert.Contains(t, stderr.String(), "example: part4-pooling serve -backend")
}

func TestGetShowsReuse(t *testing.T) {
	t.Parallel()
	r := start(t)
	var stdout bytes.Buffer

	err := fetch(&stdout, []string{"http://" + r.addr + "/", "http://" + r.addr + "/stream/2"}, 2, true)

	require.NoError(t, err)
	inOrder(t, stdout.String(), "Hello, World!\n", "200 OK, 14 bytes", "on a new connection", "line 2", "the connection's call 2", "the connection's call 4",
		"1 connections made, 3 calls on one that was there")
}

// demo is run as the reader runs it: what it claims must be so on this machine.
func TestDemoShowsReuseAndPolicies(t *testing.T) {
	t.Parallel()
	output, err := program(t, "demo").CombinedOutput()

	require.NoError(t, err, "%s", output)
	text := string(output)
	t.Log("\n" + text)
	inOrder(t, text, "each on a new connection", "on one that is kept", "is stopped", "It looks healthy", "goes on", "and gets")
	failed := func(policy string) (n int) {
		found := regexp.MustCompile(policy + ` +\w+ +(\d+) of 60`).FindStringSubmatch(text)
		require.NotNil(t, found, policy)
		fmt.Sscan(found[1], &n)
		return n
	}
	assert.Zero(t, failed("drop all when paused"))
	assert.Zero(t, failed("look, and try once more"))
}

// inOrder wants each of parts in text, one behind the other.
func inOrder(t testing.TB, text string, parts ...string) {
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

func TestDemoAsJSONIsOneEventPerLine(t *testing.T) {
	t.Parallel()
	output, err := program(t, "demo", "-json").Output()
	require.NoError(t, err)

	var before float64
	for line := range strings.Lines(string(output)) {
		var e event
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		assert.GreaterOrEqual(t, e.US, before, "events come in the order of their times")
		before = e.US
	}
	assert.Contains(t, string(output), "is stopped")
}
