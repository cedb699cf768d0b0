package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// programs are the parts' programs, built when they are first needed.
type programs struct {
	root string // the top of the repository

	mu  sync.Mutex // guards dir; held while a program is built
	dir string     // "" until the first is built
}

// build returns the path of a part's program.
func (p *programs) build(ctx context.Context, part string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dir == "" {
		dir, err := os.MkdirTemp("", "lab")
		if err != nil {
			return "", err
		}
		p.dir = dir
	}
	program := filepath.Join(p.dir, part)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "./"+part)
	cmd.Dir = p.root
	if said, err := cmd.CombinedOutput(); ctx.Err() != nil {
		return "", context.Cause(ctx)
	} else if err != nil {
		return "", fmt.Errorf("go build ./%s in %s: %w: %s", part, p.root, err, strings.TrimSpace(string(said)))
	}
	return program, nil
}

func (p *programs) remove() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dir != "" {
		os.RemoveAll(p.dir)
	}
}

// A child is a server of a part in a process of its own. Its owner calls kill.
type child struct {
	addr string // where it listens
	cmd  *exec.Cmd
}

// startServer starts a part's program with args, and returns when it listens.
func (r *Run) startServer(ctx context.Context, part string, args ...string) (*child, error) {
	program, err := r.lab.programs.build(ctx, part)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = killWithParent()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd}
	defer context.AfterFunc(ctx, func() { cmd.Process.Kill() })() // in case that it never listens
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on http://")
	if !ok {
		c.kill()
		return nil, errors.Join(context.Cause(ctx), fmt.Errorf("%s %s does not listen: %q", part, strings.Join(args, " "), line))
	}
	go io.Copy(io.Discard, stdout) // ends with the process
	c.addr = addr
	return c, nil
}

// pause stops the process (SIGSTOP), as freezing a container would.
func (c *child) pause() error { return c.cmd.Process.Signal(syscall.SIGSTOP) }

func (c *child) resume() error { return c.cmd.Process.Signal(syscall.SIGCONT) }

// kill ends the process, which may be paused, and waits until it is gone.
func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// sleep returns after d, or earlier with the cause if ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
