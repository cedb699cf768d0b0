package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	commandLimit = 60 * time.Second // for one command of a console block
	readyLimit   = 30 * time.Second // for the first line of one in the background
	endLimit     = 7 * time.Second  // from SIGTERM to SIGKILL; the servers' grace is 5 s
)

// A shell runs the commands of one console block, each in a bash and a process
// group of its own. It owns what it started in the background until close.
type shell struct {
	repo
	background []*exec.Cmd
}

// leash is a pipe, its end for reading first; only this process holds the other open,
// until it ends. What bash does first in
// each command is to leave a subshell behind that waits for the pipe's end, and
// kills the process group then: no server outlives us, not even after SIGKILL.
var leash = sync.OnceValues(func() (ends [2]*os.File, err error) {
	ends[0], ends[1], err = os.Pipe()
	return ends, err
})

const leashed = "(read -r _; kill -KILL 0) <&3 >/dev/null 2>&1 & disown; exec 3<&-; "

func (s *shell) command(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-c", leashed+line)
	if ends, err := leash(); err == nil {
		cmd.ExtraFiles = ends[:1]
	} else {
		cmd.Err = err
	}
	cmd.Dir = s.root
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "TERM=dumb", "LC_ALL=C.UTF-8", "PWD="+s.root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// run returns all that line prints. That it fails is no error: the output
// says so.
func (s *shell) run(line string) (string, error) {
	ctx, cancel := context.WithTimeout(s.ctx, commandLimit)
	defer cancel()
	cmd := s.command(ctx, line)
	output, err := cmd.CombinedOutput()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left running
	}
	if ctx.Err() != nil {
		return string(output), fmt.Errorf("not done after %v; to leave it running, end it with &", commandLimit)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) || errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return string(output), err
}

// start runs line in the background. It returns when line has printed its
// first line on stdout, with that line and what came on stderr before it.
func (s *shell) start(line string) (string, error) {
	cmd := s.command(s.ctx, line)
	var said locked
	cmd.Stderr = &said
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	s.background = append(s.background, cmd)
	first := make(chan string, 1)
	go func() { // ends when close has ended cmd
		r := bufio.NewReader(stdout)
		line, _ := r.ReadString('\n')
		first <- line
		_, _ = io.Copy(io.Discard, r)
	}()
	select {
	case line := <-first:
		time.Sleep(10 * time.Millisecond) // what stderr said before it is on its way
		return said.String() + line, nil
	case <-time.After(readyLimit):
		return said.String(), fmt.Errorf("printed no line on stdout in %v", readyLimit)
	}
}

// close ends what runs in the background, politely first, and returns when
// all of it is gone.
func (s *shell) close() {
	for _, cmd := range s.background {
		group := -cmd.Process.Pid
		_ = syscall.Kill(group, syscall.SIGTERM)
		reaped := make(chan struct{})
		go func() { _ = cmd.Wait(); close(reaped) }()
		for end := time.Now().Add(endLimit); syscall.Kill(group, 0) == nil; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				_ = syscall.Kill(group, syscall.SIGKILL)
			}
		}
		<-reaped
	}
}

// A locked buffer can be read while a command still writes to it.
type locked struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Clone(l.buf.String())
}
