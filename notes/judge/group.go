package main

import (
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// A group is a running program with everything that it starts: one process
// group, of which end leaves nothing. A shell leads the group and kills it if
// the judge itself is killed, for it then reads the end of a pipe.
type group struct {
	cmd     *exec.Cmd
	keeper  *exec.Cmd
	lifetie io.Closer
	exited  chan struct{} // closed when the program itself has ended; see cmd.ProcessState
	silent  chan struct{} // closed when no process holds its output any longer
	printed *tail

	mayDaemonise bool // its processes may leave the group; it is the last group to end
}

// start starts cmd in a group of its own. The caller calls end.
func start(cmd *exec.Cmd) (*group, error) {
	g := &group{cmd: cmd, exited: make(chan struct{}), silent: make(chan struct{}), printed: &tail{}}
	g.keeper = exec.Command("sh", "-c", "trap '' TERM INT HUP; read -r _; kill -KILL 0")
	g.keeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	tie, err := g.keeper.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := g.keeper.Start(); err != nil {
		return nil, err
	}
	g.lifetie = tie
	read, write, err := os.Pipe()
	if err == nil {
		defer write.Close()
		cmd.Stdout, cmd.Stderr = write, write
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: g.keeper.Process.Pid}
		if err = cmd.Start(); err != nil {
			read.Close()
		}
	}
	if err != nil {
		tie.Close()
		g.keeper.Wait()
		return nil, err
	}
	go func() { // ends with the program; end kills it
		cmd.Wait()
		close(g.exited)
	}()
	go func() { // ends when no process holds the pipe; end closes it after a second
		io.Copy(g.printed, read)
		close(g.silent)
	}()
	return g, nil
}

// hasExited returns whether the program itself has ended.
func (g *group) hasExited() bool { return isClosed(g.exited) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// end asks the group to end with SIGTERM and kills it after grace. It returns
// whether all of it ended when asked to. After end no process of the group is
// left; of one that mayDaemonise none that left the group either, on Linux.
func (g *group) end(grace time.Duration) (obeyed bool) {
	pgid := g.keeper.Process.Pid // the keeper is not waited for yet, so the number is ours
	syscall.Kill(-pgid, syscall.SIGTERM)
	deadline := time.After(grace)
	select {
	case <-g.exited:
		obeyed = true
	case <-deadline:
	}
	if obeyed {
		select { // its children may have last words
		case <-g.silent:
		case <-deadline:
			obeyed = false
		}
	}
	syscall.Kill(-pgid, syscall.SIGKILL)
	<-g.exited
	g.lifetie.Close()
	g.keeper.Wait()
	if g.mayDaemonise {
		killOrphans()
	}
	select {
	case <-g.silent:
	case <-time.After(time.Second): // a stranger has the pipe
	}
	return obeyed
}

// A tail keeps the last of what is written to it. It is safe for concurrent use.
type tail struct {
	mu  sync.Mutex
	buf []byte // guarded by mu
}

const tailSize = 2000 // bytes shown of what a program printed

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if len(t.buf) > 64*tailSize {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-32*tailSize:]...)
	}
	return len(p), nil
}

// all returns what is kept, up to 64,000 bytes.
func (t *tail) all() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// last returns the last tailSize bytes.
func (t *tail) last() string {
	text := t.all()
	return text[max(0, len(text)-tailSize):]
}
