package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A command is a server that freeze has started. All that it forks remains a
// descendant of this program, which is a subreaper (PR_SET_CHILD_SUBREAPER, prctl(2)):
// when a process dies, its children become this program's.
type command struct {
	argv   []string
	cmd    *exec.Cmd
	port   int           // put in place of {addr} or {port}; 0 if argv had neither
	exited chan struct{} // closed when the command itself has ended; its children may still run
	output *os.File      // stdout and stderr of all of them; a file, because it outlives the command while children run
}

// startCommand starts argv with {addr}, {host} and {port} replaced by a free loopback
// address, which ADDR and PORT in the environment also hold. The caller must call
// terminate.
func startCommand(argv []string) (*command, error) {
	c := &command{exited: make(chan struct{})}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	host, port, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	for _, arg := range argv {
		text := strings.NewReplacer("{addr}", host+":"+port, "{host}", host, "{port}", port).Replace(arg)
		if strings.Contains(text, port) && text != arg {
			fmt.Sscan(port, &c.port)
		}
		c.argv = append(c.argv, text)
	}
	if c.output, err = os.CreateTemp("", "freeze"); err != nil {
		return nil, err
	}
	os.Remove(c.output.Name()) // the file has no name from here on, and is freed with its last descriptor
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		c.output.Close()
		return nil, fmt.Errorf("prctl: %w", err)
	}
	runtime.LockOSThread() // Pdeathsig is sent when the parent thread ends, not the process
	c.cmd = exec.Command(c.argv[0], c.argv[1:]...)
	c.cmd.Env = append(os.Environ(), "ADDR="+host+":"+port, "PORT="+port)
	c.cmd.Stdout, c.cmd.Stderr = c.output, c.output
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		runtime.UnlockOSThread()
		c.output.Close()
		return nil, fmt.Errorf("cannot start %s: %w", c.argv[0], err)
	}
	go func() { c.cmd.Wait(); close(c.exited) }() // ends with the command, which terminate ends
	return c, nil
}

// awaitListener waits until the command, or a descendant, listens.
func (c *command) awaitListener(ctx context.Context, wait time.Duration) (listener, error) {
	where := "a TCP port"
	if c.port > 0 {
		where = fmt.Sprintf("port %d", c.port)
	}
	for until := time.Now().Add(wait); time.Now().Before(until); {
		held := map[int]bool{}
		for _, pid := range c.liveProcesses() {
			some, _ := socketInodes(pid)
			for inode := range some {
				held[inode] = true
			}
		}
		if found, err := heldListeners(held, c.port); err != nil || len(found) > 0 {
			return append(found, listener{})[0], err
		}
		select {
		case <-c.exited:
			if len(c.liveProcesses()) == 0 {
				return listener{}, fmt.Errorf("%s ended (%v) before it listened on %s%s", c.argv[0], c.cmd.ProcessState, where, c.outputTail())
			}
		default:
		}
		if !sleepContext(ctx, pollInterval) {
			return listener{}, ctx.Err()
		}
	}
	return listener{}, fmt.Errorf("%s has not listened on %s within %v; -wait gives it longer%s", c.argv[0], where, wait, c.outputTail())
}

// terminate sends SIGTERM to all descendants, and SIGKILL after two seconds to those
// that still run.
func (c *command) terminate() {
	for _, step := range []struct {
		signal unix.Signal
		wait   time.Duration
	}{{unix.SIGTERM, 2 * time.Second}, {unix.SIGKILL, 2 * time.Second}} {
		told := map[int]bool{}
		for until := time.Now().Add(step.wait); time.Now().Before(until); time.Sleep(pollInterval) {
			alive := c.liveProcesses()
			if len(alive) == 0 {
				return
			}
			for _, pid := range alive {
				if !told[pid] {
					unix.Kill(pid, step.signal)
					unix.Kill(pid, unix.SIGCONT)
				}
				told[pid] = true
			}
		}
	}
}

// liveProcesses returns the descendants that have not ended. It reaps orphans that
// have; startCommand's goroutine reaps the command itself.
func (c *command) liveProcesses() (pids []int) {
	for _, pid := range descendants(os.Getpid()) {
		if p, err := readProcess(pid); err != nil {
			continue
		} else if p.state == 'Z' {
			if pid != c.cmd.Process.Pid {
				unix.Wait4(pid, nil, unix.WNOHANG, nil)
			}
			continue
		}
		pids = append(pids, pid)
	}
	return pids
}

// outputTail returns the end of the command's output, for an error message.
func (c *command) outputTail() string {
	const most = 500 // bytes
	info, err := c.output.Stat()
	if err != nil || info.Size() == 0 {
		return ", and printed nothing"
	}
	text := make([]byte, min(info.Size(), most))
	n, _ := c.output.ReadAt(text, info.Size()-int64(len(text)))
	return ". It printed:\n" + strings.TrimSpace(string(text[:n]))
}
