package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/server"
	"socketup/part4-pooling/socket"
)

// A cluster is HAProxy ahead of three gateways ahead of two backends, each a process
// (notes/past-one-machine.md).
type cluster struct {
	addr      string // of HAProxy
	console   string // HAProxy's command socket
	gateways  []*exec.Cmd
	backends  []*exec.Cmd
	listeners []sharedListener // of the backends
	effects   string           // the file to which the backends append a line for each request
}

// haproxyConf repeats a request that no gateway has answered if that is harmless: a GET
// always, any other only while nothing of it has been sent. A gateway that refuses one
// connection gets no more until it accepts one of the checks.
const haproxyConf = `
global
	stats socket %s level admin
defaults
	mode http
	timeout connect 1s
	timeout client 10s
	timeout server 10s
	retries 3
	option redispatch 1
	retry-on conn-failure empty-response
listen front
	bind fd@3
	http-request disable-l7-retry if !METH_GET
	balance roundrobin
	default-server check inter 200ms observe layer4 error-limit 1 on-error mark-down
`

// startCluster starts all of it, until the test ends.
func startCluster(t testing.TB) *cluster {
	t.Helper()
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("skipped: HAProxy is not installed")
	}
	dir := t.TempDir()
	c := &cluster{console: filepath.Join(dir, "console"), effects: filepath.Join(dir, "effects")}
	var backends []string
	for i := range 2 {
		l := listenForOthers(t)
		c.listeners = append(c.listeners, l)
		c.backends = append(c.backends, c.startBackend(t, i))
		backends = append(backends, "-backend", fmt.Sprintf("/%d=http://%s", i, l.addr))
	}
	conf := fmt.Sprintf(haproxyConf, c.console)
	for i := range 3 {
		gateway, addr, _ := startServing(t, append(backends, "-behind-proxy", "-backend-idle", "50ms")...)
		c.gateways = append(c.gateways, gateway)
		conf += fmt.Sprintf("\tserver g%d %s\n", i, addr)
	}
	file := filepath.Join(dir, "conf")
	require.NoError(t, os.WriteFile(file, []byte(conf), 0o600))
	front := listenForOthers(t)
	c.addr = front.addr
	cmd := exec.CommandContext(t.Context(), haproxy, "-db", "-q", "-f", file)
	cmd.ExtraFiles = []*os.File{front.File}
	killWithTest(t, cmd)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return c
}

// startBackend starts another process for backend i on the listening socket it has.
func (c *cluster) startBackend(t testing.TB, i int) *exec.Cmd {
	t.Helper()
	cmd := programCommand(t)
	cmd.Env = append(os.Environ(), "BE_THE_BACKEND="+c.effects, "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = []*os.File{c.listeners[i].File}
	startProgram(t, cmd)
	return cmd
}

// beBackend serves the socket that is descriptor 3 until SIGTERM. It appends the method
// and the last part of the path of each request to the file, before it answers with the
// latter.
func beBackend(file string) {
	effects, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	fd, err2 := socket.Listen("fd:3", backlog)
	if err != nil || err2 != nil {
		panic(fmt.Sprint(err, err2))
	}
	s, err := server.New(fd, func(w *server.Response, r *server.Request) {
		if r.Body != nil {
			io.Copy(io.Discard, r.Body)
		}
		id := path.Base(string(r.Path))
		time.Sleep(2 * time.Millisecond) // its work
		fmt.Fprintf(effects, "%s %s\n", r.Method, id)
		io.WriteString(w, id)
	}, server.DefaultLimits, slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	s.KeepQueue = true
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() { <-stop; s.Stop() }()
	fmt.Printf("listening on http://%s\n", socket.LocalAddr(fd))
	s.Serve()
	os.Exit(0)
}

// command sends HAProxy a command, and requires that it has nothing to say.
func (c *cluster) command(t testing.TB, text string) {
	t.Helper()
	console, err := net.Dial("unix", c.console)
	require.NoError(t, err)
	defer console.Close()
	console.SetDeadline(time.Now().Add(maxWait))
	_, err = io.WriteString(console, text+"\n")
	require.NoError(t, err)
	says, err := io.ReadAll(console)
	require.NoError(t, err)
	assert.Empty(t, strings.TrimSpace(string(says)), text)
}

// executions returns how often the backends have handled each request.
func (c *cluster) executions(t testing.TB) map[string]int {
	t.Helper()
	text, err := os.ReadFile(c.effects)
	require.NoError(t, err)
	times := map[string]int{}
	for line := range strings.Lines(string(text)) {
		times[strings.TrimSpace(line)]++
	}
	return times
}
