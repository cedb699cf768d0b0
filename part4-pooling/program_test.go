package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"socketup/part4-pooling/internal/testutil"
	"socketup/part4-pooling/socket"
)

// TestMain lets the test binary act as the program, so that tests can start it
// as a process.
func TestMain(m *testing.M) {
	if os.Getenv("BE_THE_PROGRAM") != "" {
		main()
	} else if os.Getenv("BE_THE_WITNESS") != "" {
		beWitness()
	} else if file := os.Getenv("BE_THE_BACKEND"); file != "" {
		beBackend(file)
	}
	callWitness()
	waitTogether()
	os.Exit(m.Run())
}

// programCommand returns a command that runs this part's program with args. The
// process is killed when the test ends, or after it has run for a long time.
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
	// A program built with -race sleeps for a second at exit by default.
	cmd.Env = append(os.Environ(), "BE_THE_PROGRAM=yes", "GORACE=atexit_sleep_ms=0")
	return cmd
}

// startServing starts `serve` and returns the process, the address on its first
// line of output, and its log.
func startServing(t testing.TB, args ...string) (cmd *exec.Cmd, addr string, logged *bufio.Reader) {
	t.Helper()
	cmd = programCommand(t, append([]string{"serve", "-addr", "127.0.0.1:0"}, args...)...)
	addr, logged = startProgram(t, cmd)
	return cmd, addr, logged
}

func startProgram(t testing.TB, cmd *exec.Cmd) (addr string, logged *bufio.Reader) {
	t.Helper()
	stdout, stderr := outputPipes(t, cmd)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, "the first line on stdout")
	require.Regexp(t, `^listening on http://127\.0\.0\.1:\d+\n$`, line)
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on http://")), bufio.NewReader(stderr)
}

// awaitLog reads the program's log up to a line that contains text.
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

// A stopping gateway responds to requests that wait for a backend.
func TestStopAnswersRequestsWaitingForABackend(t *testing.T) {
	t.Parallel()
	asked, release := make(chan bool), make(chan bool)
	s := testutil.ServeResponses(t, func(int, *http.Request) string {
		asked <- true
		<-release
		return testutil.Response200("ok")
	})
	cmd, addr, logged := startServing(t, "-backend", "http://"+s.Addr, "-admin", "127.0.0.1:0")
	c := converse(t, addr, get("/"))
	receive(t, asked, "the request at the backend")

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	awaitLog(t, logged, "stopping")
	send(t, release, true, "the backend may respond")

	a := transcript{sent: get("/"), rule: "house rule: a stopping server responds to every request it has read", look: "main.go, serve"}.readAll(c)
	assert.Equal(t, []string{"ok"}, a.parseBodies(t, 1))
	assert.NoError(t, waitExit(t, cmd), "exit status")
}

// A signal loses no request, whether it goes through the pool, through an engine, or over
// HTTP/2.
func TestSignalLosesNoRequestOfAGateway(t *testing.T) {
	t.Parallel()
	backend := startServer(t)
	streams := startHonest(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "Hello, World!\n") })
	for _, how := range [][]string{{"-backend", "http://" + backend.addr}, {"-engine", "http://" + backend.addr}, {"-engine", "h2c://" + streams.addr}} {
		cmd, addr, _ := startServing(t, how...)

		requireStopLosesNothing(t, cmd, addr, get("/"), "Hello, World!\n")
	}
}

func TestSecondSignalEndsTheProgramAtOnce(t *testing.T) {
	t.Parallel()
	cmd, addr, logged := startServing(t, "-grace", "1h")
	converse(t, addr, get("/sleep/60s"))
	c := converse(t, addr, get("/"))
	requireRead(t, c, transcript{}, "HTTP/1.1 200")

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	awaitLog(t, logged, "stopping")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))

	awaitLog(t, logged, "second signal")
	assert.Equal(t, 1, exitStatus(waitExit(t, cmd)))
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
	taken := startServer(t)
	for name, c := range map[string]struct {
		args   string
		status int
		says   string
	}{
		"unknown flag":               {"-bogus", 2, "flag provided but not defined: -bogus"},
		"negative grace":             {"-grace -1s", 2, "bad grace -1s"},
		"unknown verb":               {"dance", 2, `unknown verb "dance"`},
		"extra argument":             {"serve now", 2, `unexpected argument "now"`},
		"bad limit":                  {"-head 10", 2, "-head 10: want 256 to 32768"},
		"no connections":             {"-backend-connections 0", 2, "want at least 1"},
		"no head time":               {"-backend-head-time 0s", 2, "-backend-head-time, -backend-body-time and -backend-continue-time: want more than 0"},
		"a backend path":             {"-backend http://127.0.0.1:80/x", 2, `bad backend "http://127.0.0.1:80/x": paths and queries pass as they are: the backend's URL has none; want http://localhost:9000 or`},
		"a backend query":            {"-backend http://localhost?", 2, "the backend's URL has none"},
		"an https backend":           {"-backend https://127.0.0.1:443", 2, `bad URL "https://127.0.0.1:443": want http:// first`},
		"a backend's user":           {"-backend http://me:secret@127.0.0.1:80", 2, "a user or a password is not sent"},
		"a fragment":                 {"-engine http://127.0.0.1:80/#top", 2, "a fragment (#…) is not sent"},
		"port 0":                     {"-engine http://localhost:0", 2, `bad address "localhost:0"`},
		"no host":                    {"-backend http://", 2, `bad address ":80"`},
		"a bad name":                 {"-backend http://a_b..c/", 2, `bad address "a_b..c:80"`},
		"a prefix's query":           {"-backend /a?b=http://localhost", 2, `no request has the path "/a?b"`},
		"a prefix's dots":            {"-backend /a/../b=http://localhost", 2, `no request has the path "/a/../b"`},
		"a prefix escaped":           {"-engine /%61=http://localhost", 2, `no request has the path "/%61"`},
		"a prefix, é":                {"-backend /é=http://localhost", 2, `no request has the path "/é"`},
		"a prefix of //":             {"-backend //=http://localhost", 2, `no request has the path`},
		"two for all paths":          {"-backend http://localhost -backend http://localhost:81", 2, "the path / has two backends, -backend /=http://localhost:80 and -backend /=http://localhost:81: want one"},
		"two for a path":             {"-backend /a=http://localhost -engine /a/=http://localhost", 2, "the path /a has two backends, -backend /a=http://localhost:80 and -engine /a=http://localhost:80: want one"},
		"no URL":                     {"get", 2, "want a URL"},
		"get a user":                 {"get http://me@127.0.0.1/", 2, "a user or a password is not sent"},
		"get a fragment":             {"get http://127.0.0.1/a#b", 2, "a fragment (#…) is not sent"},
		"get port 0":                 {"get http://127.0.0.1:0/", 2, `bad address "127.0.0.1:0"`},
		"get a number":               {"get http://127.1/", 2, `bad address "127.1:80"`},
		"get without a host":         {"get http://" + testutil.FreeAddr(t) + "/", 1, "not every URL could be fetched"},
		"press a user":               {"get -callers 1 http://me@127.0.0.1/", 2, "a user or a password is not sent"},
		"no such descriptor":         {"-addr fd:999999", 1, "cannot listen on fd:999999: bad file descriptor; start this process with a listening socket as that descriptor"},
		"no descriptor":              {"-addr fd:x", 1, `bad address "fd:x": want the number of a descriptor, such as fd:3`},
		"one socket for two servers": {"-addr fd:3 -admin fd:3", 2, "-addr and -admin are both fd:3: each needs a socket of its own"},
		"taken port":                 {"-addr " + taken.addr, 1, "cannot listen on " + taken.addr + ": address already in use; stop the program that has the port"},
		"taken admin port":           {"-addr 127.0.0.1:0 -admin " + taken.addr, 1, "cannot listen on " + taken.addr},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			ended := make(chan int, 1)

			go func() { ended <- run(strings.Fields(c.args), &stdout, &stderr) }()

			assert.Equal(t, c.status, receive(t, ended, "the program refuses its command line"))
			assert.Contains(t, stderr.String(), c.says)
			assert.NotContains(t, stdout.String(), "listening on")
		})
	}
}

func TestHelpIsPrintedWhereItWasAskedFor(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	for _, verb := range []string{"serve", "get", "keep", "demo"} {
		var asked, none, nothing, wrong bytes.Buffer

		assert.Zero(t, run([]string{verb, "-h"}, &asked, &none))
		assert.Equal(t, 2, run([]string{verb, "-nonsense"}, &nothing, &wrong))

		assert.Contains(t, asked.String(), "example: part4-pooling serve -backend", "%s -h | less shows it", verb)
		assert.Empty(t, none.String(), verb)
		assert.Empty(t, nothing.String(), verb)
		assert.Equal(t, "flag provided but not defined: -nonsense\n"+asked.String(), wrong.String(), verb)
	}
}

func TestGetShowsReuse(t *testing.T) {
	t.Parallel()
	r := startServer(t)
	var stdout bytes.Buffer

	err := fetch(&stdout, []string{"http://" + r.addr + "/", "http://" + r.addr + "/stream/2"}, 2, true)

	require.NoError(t, err)
	requireNarrow(t, stdout.String())
	requireInOrder(t, stdout.String(), "Hello, World!\n", "200 OK, 14 bytes", "on a new connection", "line 2", "a reused connection (request 2)", "a reused connection (request 4)",
		"1 connections opened, 3 requests on a reused one")
}

// localhost has two addresses, ::1 and 127.0.0.1. The client and the gateway
// find the one on which the server listens.
func TestNamesResolveInGetAndInTheGateway(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		l, err := onOneLoopback(t, host)
		if err != nil {
			t.Log("this machine has no IPv6 loopback: ", err)
			continue
		}
		back := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "for "+r.Host) })}
		go back.Serve(l) // until Close
		t.Cleanup(func() { back.Close() })
		name := "localhost:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		for _, flag := range []string{"-backend", "-engine"} {
			_, addr, _ := startServing(t, flag, "http://"+name)

			s := sendAndRead(t, addr, "house rule: all addresses of a name are tried", "resolve.go, dialEach", get("/", closeField))

			s.wantPrefix(t, "HTTP/1.1 200 ")
			assert.Equal(t, "for socket.up", s.wantFramed(t).body)
		}
		var stdout, stderr bytes.Buffer
		assert.Zero(t, run([]string{"get", "-body", "-n", "2", "http://" + name}, &stdout, &stderr), "%s%s", &stdout, &stderr)
		requireInOrder(t, stdout.String(), "for "+name, "200 OK", name+": 1 connections opened, 1 requests on a reused one")
	}
}

// onOneLoopback listens on host, and reserves the same port of the other
// loopback address without listening, so that no other test's backend can be
// there.
func onOneLoopback(t *testing.T, host string) (net.Listener, error) {
	t.Helper()
	other := map[string]string{"127.0.0.1": "[::1]", "[::1]": "127.0.0.1"}[host]
	for {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			return nil, err
		}
		sa, family, err := socket.ParseSockaddr(fmt.Sprintf("%s:%d", other, l.Addr().(*net.TCPAddr).Port))
		require.NoError(t, err)
		fd, err := socket.NewSocket(family)
		if err != nil {
			return l, nil // no IPv6: nothing to reserve
		}
		switch err = unix.Bind(fd, sa); err { // bound, but not listening: connections are refused
		case unix.EADDRINUSE:
			unix.Close(fd)
			l.Close()
		default:
			t.Cleanup(func() { unix.Close(fd) })
			return l, nil
		}
	}
}

// Bytes that a request line cannot carry are escaped: a space would end the
// target.
func TestGetEscapesWhatARequestLineCannotCarry(t *testing.T) {
	t.Parallel()
	for rest, want := range map[string]string{
		"":                  "/",
		"?q=a b":            "/?q=a%20b",
		"/a b?q=é":          "/a%20b?q=%C3%A9",
		"/a%2Fb%zz%4":       "/a%2Fb%25zz%254",
		"/a%2fb\"<>|^`{}[]": "/a%2fb%22%3C%3E%7C%5E%60%7B%7D%5B%5D",
		"/a?b/c?d=1&e=+":    "/a?b/c?d=1&e=+",
		"/../a":             "/../a",
	} {
		s, got := startRecording(t, testutil.Response200("ok"))
		var stdout bytes.Buffer

		require.NoError(t, fetch(&stdout, []string{"http://" + s.Addr + rest}, 1, false))

		back := transcript{sent: rest, got: receive(t, got, "the request"), rule: "RFC 9112 §3.2: no space in a target", look: "url.go, EscapeTarget"}
		back.wantPrefix(t, "GET "+want+" HTTP/1.1\r\nHost: "+s.Addr+"\r\n")
	}
}

// The demo is run as the reader runs it: what it claims must hold on this
// machine.
func TestDemoShowsReuseAndPolicies(t *testing.T) {
	t.Parallel()
	output, err := programCommand(t, "demo").CombinedOutput()

	require.NoError(t, err, "%s", output)
	text := string(output)
	t.Log("\n" + text)
	requireNarrow(t, text)
	requireInOrder(t, text, "each on a new connection", "on a reused connection", "is stopped", "It looks healthy", "continues", "and gets")
	failed := func(policy string) (n int) {
		found := regexp.MustCompile(policy + ` +\w+ +(\d+) of 60`).FindStringSubmatch(text)
		require.NotNil(t, found, policy)
		fmt.Sscan(found[1], &n)
		return n
	}
	assert.Zero(t, failed("drop all when paused"))
	assert.Zero(t, failed("check, and retry once"))
}

// requireInOrder requires each of parts in text, one after the other.
func requireInOrder(t testing.TB, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		if !found {
			t.Fatalf("%q is missing or out of order in:\n%s", part, text)
		}
		rest = after
	}
}

func TestDemoAsJSONHasEveryExperiment(t *testing.T) {
	t.Parallel()
	output, err := programCommand(t, "demo", "-json").Output()
	require.NoError(t, err)

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
	assert.Equal(t, []string{"reuse", "a stale connection", "four policies", "an engine", "is it worth it", "streams", "one slow response", "the last row"}, experiments)
	assert.Contains(t, string(output), "is stopped")
}
