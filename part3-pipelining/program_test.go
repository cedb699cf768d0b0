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
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary act as the program, so that tests can start it
// as a process.
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

// programCommand returns a command that runs this part's program with args. The
// process is killed when the test ends, or after it has run for a long time.
func programCommand(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	skipIfJudging(t)
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 4*maxWait+soakTime(t))
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

func TestSignalEndsTheProgramWithStatusZero(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		cmd, addr, _ := startServing(t)
		sendAndRead(t, addr, "", "", get("/", closeField)).wantPrefix(t, "HTTP/1.1 200 OK\r\n")

		require.NoError(t, cmd.Process.Signal(signal))

		assert.NoError(t, waitExit(t, cmd), "exit status after %v", signal)
	}
}

// Under load, a stopping server responds to every request it has read, in full
// and in order. Requests it has not read get a clean close.
func TestStopUnderPipelinedLoadAnswersEveryRequestRead(t *testing.T) {
	cmd, addr, _ := startServing(t)
	var all sync.WaitGroup
	var answers atomic.Int64
	started := make(chan bool, 20)
	for range 20 {
		c := dial(t, addr)
		all.Go(func() {
			defer c.Close()
			batch := strings.Repeat(get("/"), 16)
			io.WriteString(c, strings.Repeat(batch, 8))
			in := bufio.NewReader(c)
			for n := 0; ; n++ {
				if _, err := in.Peek(1); err != nil {
					assert.ErrorIs(t, err, io.EOF, "after %d complete responses the connection ends in FIN", n)
					return
				}
				_, body, err := readResponse(in)
				if !assert.NoError(t, err, "response %d is not complete", n) || !assert.Equal(t, "Hello, World!\n", string(body)) {
					return
				}
				answers.Add(1)
				if n%16 == 15 {
					io.WriteString(c, batch)
				}
				if n == 100 {
					started <- true
				}
			}
		})
	}
	for range 20 {
		receive(t, started, "load")
	}
	if d := soakTime(t); d > 0 {
		before := residentMemory(t, cmd.Process.Pid)
		time.Sleep(d) // keeps the load up; no synchronization
		t.Logf("%d responses in %v; %d and %d KiB of resident memory", answers.Load(), d, before>>10, residentMemory(t, cmd.Process.Pid)>>10)
	}

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))

	waitGroup(t, &all, "all goroutines of the test end")
	assert.NoError(t, waitExit(t, cmd), "exit status")
}

func TestStopAnswersRequestsInFlightAndQueued(t *testing.T) {
	l := newLatches()
	r := startServer(t, withHandler(l.handle))
	inFlight := converse(t, r.addr, get("/1")+get("/2"))
	receive(t, l.began, "1 begins")
	receive(t, l.began, "2 begins")
	idle := dial(t, r.addr)

	r.Stop()
	l.release("/1", "/2")

	s := transcript{sent: get("/1") + get("/2"), rule: "house rule: a stopping server responds to every request it has read", look: "drain.go"}.readAll(inFlight)
	inRequestOrder(t, s, "/1", "/2")
	s.wantCleanEnd(t)
	transcript{}.readAll(idle).wantCleanEnd(t)
	receive(t, r.done, "serve returns")
	_, err := net.DialTimeout("tcp", r.addr, patience())
	assert.ErrorIs(t, err, syscall.ECONNREFUSED, "after a stop the port is closed")
}

func TestSecondSignalEndsTheProgramAtOnce(t *testing.T) {
	cmd, addr, logged := startServing(t, "-grace", "1h")
	converse(t, addr, get("/sleep/60s")+get("/"))
	c := converse(t, addr, get("/"))
	requireRead(t, c, transcript{}, "HTTP/1.1 200")

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	awaitLog(t, logged, "stopping")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))

	awaitLog(t, logged, "second signal")
	assert.Equal(t, 1, exitStatus(waitExit(t, cmd)))
}

func TestGraceLimitsTheStop(t *testing.T) {
	cmd, addr, logged := startServing(t, "-grace", "10ms")
	c := converse(t, addr, get("/")+get("/sleep/60s"))
	requireRead(t, c, transcript{}, "HTTP/1.1 200")

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))

	awaitLog(t, logged, "grace is over after 10ms")
	assert.Equal(t, 1, exitStatus(waitExit(t, cmd)))
}

func exitStatus(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// With 64 descriptors 200 clients cannot be connected concurrently: those not
// accepted wait in the kernel's accept queue, and all are served in the end.
func TestOutOfDescriptorsEveryClientIsEventuallyServed(t *testing.T) {
	const clients = 200
	cmd, addr, _ := startServing(t, "-idle-time", "300ms", "-linger-time", "50ms")
	limitDescriptors(t, cmd.Process.Pid, 64) // after serve has read the limit (descriptors.go)
	var all sync.WaitGroup
	for range clients {
		c := converse(t, addr, get("/")) // stays open
		all.Go(func() {
			status, _, err := readResponse(bufio.NewReader(c))
			assert.NoError(t, err)
			assert.Equal(t, "200 OK", status)
		})
	}

	waitGroup(t, &all, "all goroutines of the test end")

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	waitExit(t, cmd)
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	t.Logf("200 clients through 64 descriptors; the server ran for %v", used)
	assert.Less(t, used.Seconds(), 2.0, "house rule: a failed accept is not retried immediately (server.go, waitForCapacity)")
}

func TestBadCommandLinesAreRefusedInOneSentence(t *testing.T) {
	taken := startServer(t)
	for name, c := range map[string]struct {
		args   string
		status int
		says   string
	}{
		"unknown flag":            {"-bogus", 2, "flag provided but not defined: -bogus"},
		"negative grace":          {"-grace -1s", 2, "bad grace -1s"},
		"unknown verb":            {"dance", 2, `unknown verb "dance"`},
		"extra argument":          {"serve now", 2, `unexpected argument "now"`},
		"bad limit":               {"-head 10", 2, "-head 10: want 256 to 32768"},
		"no time":                 {"-idle-time 0s", 2, "-linger-time: want more than 0"},
		"pipe without an address": {"pipe", 2, "want an address and at least one path"},
		"pipe, no port":           {"pipe localhost /", 2, `bad address "localhost"`},
		"pipe to port 0":          {"pipe localhost:0 /", 2, `bad address "localhost:0"`},
		"pipe to no one":          {"pipe me@localhost:80 /", 2, `bad address "me@localhost:80"`},
		"pipe an é":               {"pipe 127.0.0.1:1 /é", 2, `bad path "/é"`},
		"pipe a part":             {"pipe 127.0.0.1:1 /#a", 2, `bad path "/#a"`},
		"pipe no path":            {"pipe 127.0.0.1:1 x", 2, `bad path "x"`},
		"no such root":            {"-root /nowhere", 1, "-root: open /nowhere: no such file or directory"},
		"no such descriptor":      {"-addr fd:999999", 1, "cannot listen on fd:999999: bad file descriptor; start this process with a listening socket as that descriptor"},
		"no descriptor":           {"-addr fd:x", 1, `bad address "fd:x": want the number of a descriptor, such as fd:3`},
		"taken port":              {"-addr " + taken.addr, 1, "cannot listen on " + taken.addr + ": address already in use; stop the program that has the port"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer

			status := run(strings.Fields(c.args), &stdout, &stderr)

			assert.Equal(t, c.status, status)
			assert.Contains(t, stderr.String(), c.says)
			assert.Empty(t, stdout.String())
		})
	}
}

func TestHelpIsPrintedWhereItWasAskedFor(t *testing.T) {
	skipIfJudging(t)
	for _, verb := range []string{"serve", "pipe", "demo"} {
		var asked, none, nothing, wrong bytes.Buffer

		assert.Zero(t, run([]string{verb, "-h"}, &asked, &none))
		assert.Equal(t, 2, run([]string{verb, "-nonsense"}, &nothing, &wrong))

		assert.Contains(t, asked.String(), "example: part3-pipelining pipe", "%s -h | less shows it", verb)
		assert.Empty(t, none.String(), verb)
		assert.Empty(t, nothing.String(), verb)
		assert.Equal(t, "flag provided but not defined: -nonsense\n"+asked.String(), wrong.String(), verb)
	}
}

func TestPipeShowsResponsesInOrder(t *testing.T) {
	var stdout bytes.Buffer

	err := runPipeline(&stdout, startServer(t).addr, []string{"/sleep/20ms", "/", "/stream/2", "/none"})

	require.NoError(t, err)
	requireNarrow(t, stdout.String())
	requireInOrder(t, stdout.String(), "sends 4 requests in one write", `has response 1, /sleep/20ms: 200 OK, "slept 20ms\n"`,
		`has response 2, /: 200 OK, "Hello, World!\n"`, `has response 3, /stream/2: 200 OK, "line 1\n`, "has response 4, /none: 404")
}

// The pipe client parses responses as strictly as the server parses requests:
// when the framing of one is ambiguous, so are all responses after it.
func TestPipeParsesResponsesStrictly(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for sent, want := range map[string]string{
		ok + "\r\n" + ok: "200 OK ok",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + ok:                        "200 OK ok",
		strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 101) + ok + ok:                  "too many interim responses",
		"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + ok:                              "invalid or repeated Content-Length",
		"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok" + ok:                            "invalid or repeated Content-Length",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok" + ok:          "invalid or repeated Content-Length",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok" + ok:        "invalid or repeated Content-Length",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + ok:       "transfer coding other than a single chunked",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + ok: "transfer coding other than a single chunked",
		"\r\n\r\n\r\n" + ok: "not a status line",
	} {
		in := bufio.NewReader(strings.NewReader(sent))
		status, body, err := readResponse(in)
		if err == nil {
			_, _, err = readResponse(in)
		}
		got := status + " " + string(body)
		if err != nil {
			got = err.Error()
		}
		assert.Contains(t, got, want, "%q. pipelineclient.go, readHead", clip(sent))
	}
}

// The demo is run as the reader runs it: what it claims must hold on this
// machine.
func TestDemoShowsOrderAndTime(t *testing.T) {
	output, err := programCommand(t, "demo").CombinedOutput()

	require.NoError(t, err, "%s", output)
	text := string(output)
	t.Log("\n" + text)
	requireNarrow(t, text)
	requireInOrder(t, text, "sends 4 requests", "begins GET /sleep/300ms", "is done with GET /sleep/100ms", "is done with GET /sleep/300ms", "has response 1", "has response 4")
	var sum, slowest int
	_, times, _ := strings.Cut(text, "one after the other")
	_, err = fmt.Sscanf(strings.ReplaceAll(times, "ms   the sum\n  pipelined", ""), "%d %d", &sum, &slowest)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, sum, 800)
	assert.Less(t, slowest, 400)
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
	assert.Equal(t, []string{"order", "time"}, experiments)
	assert.Contains(t, string(output), "has response 4")
}
