package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestInvalidFlagsAreRefusedInOneSentence(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	for name, c := range map[string]struct {
		args   string
		status int
		says   string
	}{
		"negative backlog":    {"-backlog -1", 2, `invalid value "-1" for flag -backlog: want a value from 0 to 2147483647`},
		"huge backlog":        {"-backlog 2147483648", 2, `invalid value "2147483648" for flag -backlog`},
		"backlog in words":    {"-backlog many", 2, `invalid value "many" for flag -backlog`},
		"negative delay":      {"-delay -1s", 2, `invalid value "-1s" for flag -delay: want a value from 0s to 24h0m0s`},
		"delay without unit":  {"-delay 5", 2, `invalid value "5" for flag -delay`},
		"json of nothing":     {"serve -json", 2, "serve not understood: -json says how to show what -watch shows"},
		"no clients":          {"burst -n 0", 2, `invalid value "0" for flag -n: want a value from 1 to 1000`},
		"negative patience":   {"burst -connect-timeout -1s", 2, `invalid value "-1s" for flag -connect-timeout`},
		"burst without port":  {"burst -addr localhost", 2, `burst not understood: bad address "localhost": want a host and a port`},
		"burst to port 0":     {"burst -addr localhost:0", 2, `burst not understood: bad address "localhost:0"`},
		"burst to a user":     {"burst -addr me@localhost:80", 2, `burst not understood: bad address "me@localhost:80"`},
		"burst to a number":   {"burst -addr 127.1:80", 2, `burst not understood: bad address "127.1:80"`},
		"burst to a zone":     {"burst -addr [fe80::1%lo]:80", 2, `burst not understood: bad address "[fe80::1%lo]:80"`},
		"no rate":             {"plan -rate 0", 2, `invalid value "0" for flag -rate: want a value from 0.001 to 1e+06`},
		"rate that is none":   {"plan -rate NaN", 2, `invalid value "NaN" for flag -rate`},
		"endless rate":        {"plan -rate Inf", 2, `invalid value "Inf" for flag -rate`},
		"no service":          {"plan -service 0s", 2, `invalid value "0s" for flag -service`},
		"target of all":       {"plan -target 101", 2, `invalid value "101" for flag -target`},
		"demo with argument":  {"demo me", 2, `unexpected argument "me"`},
		"nothing to freeze":   {"freeze", 2, "freeze not understood: it takes one of -pid, -port and a command"},
		"two to freeze":       {"freeze -pid 1 -port 1", 2, "freeze not understood"},
		"pid in words":        {"freeze -pid me", 2, `invalid value "me" for flag -pid`},
		"port too high, here": {"freeze -port 65536", 2, `invalid value "65536" for flag -port: want a value from 1 to 65535`},
		"trace for ever":      {"trace -delay 1h", 2, "trace not understood: a -delay of 1h0m0s would take too long"},
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

func TestBurstGivesEachClientItsLine(t *testing.T) {
	t.Parallel()
	addr := startServer(t).addr
	var text, lines, stderr bytes.Buffer

	assert.Zero(t, run([]string{"burst", "-addr", addr, "-every", "0s"}, &text, &stderr))
	assert.Zero(t, run([]string{"burst", "-addr", addr, "-every", "0s", "-json"}, &lines, &stderr))

	for n := range 3 {
		assert.Regexp(t, fmt.Sprintf(`client %d +came at +\d+\.\d+ s  connected in .*  200 OK after `, n+1), text.String())
	}
	assert.Contains(t, text.String(), "3 of 3 answered\n")
	for line := range strings.Lines(lines.String()) {
		var v outcome
		require.NoError(t, json.Unmarshal([]byte(line), &v))
		assert.Equal(t, "200 OK", v.Status)
		assert.Positive(t, v.ResponseMS)
	}
	requireNarrow(t, text.String())
	assert.Empty(t, stderr.String())
}

// What everybody types first. Which of the two addresses the server has is not
// for the client to know.
func TestBurstFindsLocalhostWhateverItsAddress(t *testing.T) {
	t.Parallel()
	for _, family := range loopbacks(t) {
		skipIfJudging(t)
		addr := startServerOn(t, family).addr
		var stdout, stderr bytes.Buffer

		status := run([]string{"burst", "-addr", "localhost" + addr[strings.LastIndexByte(addr, ':'):], "-n", "2", "-every", "0s"}, &stdout, &stderr)

		assert.Zero(t, status, "%s: %s%s", addr, &stdout, &stderr)
		assert.Contains(t, stdout.String(), "2 of 2 answered\n")
	}
}

func TestBurstWithoutAServerSaysWhatToDo(t *testing.T) {
	t.Parallel()
	fd, addr := startListening(t, "127.0.0.1:0", 0)
	unix.Shutdown(fd, unix.SHUT_RDWR)
	var stdout, stderr bytes.Buffer

	status := run([]string{"burst", "-addr", addr, "-n", "2", "-every", "0s"}, &stdout, &stderr)

	assert.Equal(t, 1, status)
	assert.Contains(t, stdout.String(), "connect "+addr+": refused")
	assert.Contains(t, stderr.String(), "no process listens on "+addr+": in another terminal, go run ./part2-backlog")
}

func TestBurstWithoutAnyResponseFails(t *testing.T) {
	t.Parallel()
	_, addr := startListening(t, "127.0.0.1:0", 5) // and nobody accepts
	var stdout, stderr bytes.Buffer

	status := run([]string{"burst", "-addr", addr, "-n", "2", "-every", "0s", "-timeout", "10ms"}, &stdout, &stderr)

	assert.Equal(t, 1, status)
	assert.Contains(t, stdout.String(), "0 of 2 answered\n")
	assert.Equal(t, "no client was answered\n", stderr.String())
	requireNarrow(t, stdout.String())
}

func TestClientThatGaveUpHasNoTimeOfItsResponse(t *testing.T) {
	t.Parallel()
	_, addr := startListening(t, "127.0.0.1:0", 5) // and no server accepts
	var lines, stderr bytes.Buffer

	status := run([]string{"burst", "-addr", addr, "-n", "2", "-every", "0s", "-timeout", "10ms", "-json"}, &lines, &stderr)

	assert.Equal(t, 1, status)
	for line := range strings.Lines(lines.String()) {
		var object map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &object))
		assert.NotContains(t, object, "answer_ms", "%s. burst.go, requestOnce", line)
		assert.Equal(t, "no response within 10ms", object["error"])
	}
}

// Every line of an outcome fits, however long the wait and the address.
func TestOutcomesFitIn80Columns(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	for _, v := range []outcome{
		{Client: 1000, ArrivedMS: 123456, ConnectMS: 61234.567, ResponseMS: 81234.567, SYNs: 7, Status: "200 OK"},
		{Client: 1, Error: "connect [2001:db8:1234:5678:9abc:def0:1234:5678]:65535: timed out after 1m0s", SYNs: 12, err: ErrConnectTimeout},
	} {
		requireNarrow(t, v.line(io.Discard))
	}
}

// ^C ends an experiment: in words, and with the status that a shell gives it.
func TestInterruptedExperimentSaysSoWithStatus130(t *testing.T) {
	t.Parallel()
	_, addr := startListening(t, "127.0.0.1:0", 5) // and no server accepts
	cmd := programCommand(t, "burst", "-addr", addr, "-timeout", "1h", "-every", "0s")
	stdout, stderr := outputPipes(t, cmd)
	require.NoError(t, cmd.Start())
	_, err := bufio.NewReader(stdout).ReadString('\n') // it has begun
	require.NoError(t, err)

	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))

	text, err := io.ReadAll(stderr)
	require.NoError(t, err)
	assert.Equal(t, exitInterrupted, exitStatus(t, waitExit(t, cmd)))
	assert.Equal(t, "interrupted\n", string(text))
}

func TestGaugeShowsTheQueueFilling(t *testing.T) {
	t.Parallel()
	if _, err := readCounters(); err != nil {
		t.Skip(err)
	}
	_, addr, logged := startServing(t, "-watch", "-backlog", "1")
	awaitLog(t, logged, "accept queue [..] 0 of 2 places taken; ")

	for range 2 { // one in service, for it says nothing, and one queued
		connectTo(t, addr)
	}

	awaitLog(t, logged, "accept queue [#.] 1 of 2 places taken; ")
}

func TestGaugeFitsIn80Columns(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	g := newGauge(io.Discard, io.Discard, true, false)
	for _, q := range []acceptQueue{{0, 0}, {1, 0}, {4097, 4096}, {65536, 65535}} {
		requireNarrow(t, g.text(q, counters{}, fmt.Sprintf("%v; %d ignored", q, 1_000_000), 0))
	}
}

// As JSON it has stdout for itself: every line there is an object.
func TestGaugeAsJSONIsNotMixedWithTheLog(t *testing.T) {
	t.Parallel()
	if _, err := readCounters(); err != nil {
		t.Skip(err)
	}
	cmd := programCommand(t, "serve", "-addr", "127.0.0.1:0", "-watch", "-backlog", "1", "-json")
	stdout, stderr := outputPipes(t, cmd)
	require.NoError(t, cmd.Start())
	in, logged := bufio.NewScanner(stdout), bufio.NewReader(stderr)
	line := func() (object map[string]any) {
		require.True(t, in.Scan(), in.Err())
		require.NoError(t, json.Unmarshal(in.Bytes(), &object), in.Text())
		return object
	}

	addr := strings.TrimPrefix(fmt.Sprint(line()["listening"]), "http://")
	require.Contains(t, line(), "waiting")
	sendAndRead(t, addr, "", "", get).wantPrefix(t, "HTTP/1.1 200 OK\r\n")
	awaitLog(t, logged, "connection")
	for range 2 { // one in service, for it says nothing, and one queued
		connectTo(t, addr)
	}
	for line()["waiting"] != 1. { // the gauge may have seen the first in the queue too
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))

	for in.Scan() {
		assert.True(t, json.Valid(in.Bytes()), "a line on stdout: %s. watch.go, newGauge", in.Text())
	}
	awaitLog(t, logged, "stopping")
}

func TestGaugeStaysOnTheLastLine(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	var screen bytes.Buffer
	g := newGauge(io.Discard, &screen, true, false)
	g.inPlace = true
	cut := func(line string) string { return "\x1b[?7l" + line + "\x1b[?7h" } // not wrapped

	g.show("one")
	fmt.Fprintln(g, "a log line")
	g.show("two")

	assert.Equal(t, "\r\x1b[K"+cut("one")+"\r\x1b[Ka log line\n"+cut("one")+"\r\x1b[K"+cut("two"), screen.String())
}

// A look as long as a hundredth of watchInterval would be 1 % of a core.
func TestGaugeIsCheap(t *testing.T) {
	fd, _ := startListening(t, "127.0.0.1:0", 0)
	var before, after unix.Rusage
	const looks = 100

	unix.Getrusage(unix.RUSAGE_SELF, &before)
	for range looks {
		readAcceptQueue(fd)
		readCounters()
	}
	unix.Getrusage(unix.RUSAGE_SELF, &after)

	cost := time.Duration(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()) / looks
	t.Logf("a look costs %v, %.2f %% of a core", cost, 100*float64(cost)/float64(watchInterval))
	assert.Less(t, cost, watchInterval/100)
}
