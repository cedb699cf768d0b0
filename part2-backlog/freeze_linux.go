package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A freezer stops a server, counts the clients that its kernel lets in
// meanwhile, and sets it going again. No server in any language can help it:
// the queue is the kernel's, and a stopped process accepts nobody.
type freezer struct {
	stdout   io.Writer
	spawned  *command // nil for a server that was there before
	stopped  []int    // by us, and to be resumed
	listener listener
	result   freezeResult
}

// freezeResult is what came of it.
type freezeResult struct {
	Server    string `json:"server"`
	Listener  string `json:"listener"`
	Processes []int  `json:"processes"` // that hold the socket, all of them stopped
	Waiting   int    `json:"waiting"`   // in the queue before the first client
	Admitted  int    `json:"admitted"`
	Limit     int    `json:"limit"`
	Somaxconn int    `json:"somaxconn"`
	Why       string `json:"why"`
}

func freezeVerb(flags *flag.FlagSet, stdout io.Writer) func(context.Context) error {
	pid := countFlag(flags, "pid", 0, 1, 1<<22, "freeze the server with this `PID`, which must be yours")
	port := countFlag(flags, "port", 0, 1, maxPort, "freeze whoever listens on this `port`, which must be yours")
	wait := durationFlag(flags, "wait", 20*time.Second, time.Millisecond, "`time` for the command to start listening")
	most := countFlag(flags, "most", 10000, 1, 60000, "`number` of clients to stop at")
	asJSON := flags.Bool("json", false, "print the result as JSON")
	return func(ctx context.Context) error {
		argv := flags.Args()
		if given := []bool{*pid > 0, *port > 0, len(argv) > 0}; !slices.Contains(given, true) || given[0] && given[1] || given[2] && (given[0] || given[1]) {
			return fmt.Errorf("freeze %w: it takes one of -pid, -port and a command, such as: freeze -- python3 -m http.server --bind {host} {port}", errUsage)
		}
		// Nothing is left stopped, unless by SIGKILL: a signal ends ctx, and from here on
		// neither kills us nor stops us, not even a second one. SIGPIPE would, at a closed
		// stdout. SIGTTOU is ignored: caught, it would come back at every try to write.
		signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE,
			unix.SIGABRT, unix.SIGTSTP, unix.SIGTTIN)
		signal.Ignore(unix.SIGTTOU)
		f := &freezer{stdout: stdout}
		defer f.resumeAll()
		if err := f.findListener(ctx, argv, *pid, *port, *wait); err != nil {
			return err
		}
		if err := f.stopProcesses(); err != nil {
			return err
		}
		if err := f.countAdmitted(ctx, *most); err != nil {
			return err
		}
		return f.print(*asJSON)
	}
}

// findListener looks for the server's listening socket: the one of argv, which it
// starts, or of pid, or the one on port.
func (f *freezer) findListener(ctx context.Context, argv []string, pid, port int, wait time.Duration) (err error) {
	switch {
	case len(argv) > 0:
		if f.spawned, err = startCommand(argv); err != nil {
			return err
		}
		f.result.Server = strings.Join(f.spawned.argv, " ")
		f.listener, err = f.spawned.awaitListener(ctx, wait)
	case pid > 0:
		f.listener, err = listenerOfProcess(pid)
		p, _ := readProcess(pid)
		f.result.Server = fmt.Sprintf("%s (process %d)", p.name, pid)
	default:
		f.listener, err = listenerOnPort(port)
		f.result.Server = fmt.Sprintf("the server on port %d", port)
	}
	return err
}

func listenerOfProcess(pid int) (listener, error) {
	held, err := socketInodes(pid)
	if errors.Is(err, os.ErrNotExist) {
		return listener{}, fmt.Errorf("there is no process %d", pid)
	} else if err != nil {
		return listener{}, fmt.Errorf("process %d is not yours: run this as its owner or as root", pid)
	}
	found, err := heldListeners(held, 0)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("process %d listens on no TCP port of this network namespace (a container has one of its own)", pid)
	}
	if err != nil {
		return listener{}, err
	}
	return found[0], nil
}

func listenerOnPort(port int) (listener, error) {
	all, err := listeners()
	if err != nil {
		return listener{}, err
	}
	for _, l := range all {
		if int(l.addr.Port()) == port {
			if len(socketHolders(map[int]bool{l.inode: true})) == 0 {
				return l, fmt.Errorf("port %d belongs to user %d: run this as that user or as root", port, l.uid)
			}
			return l, nil
		}
	}
	return listener{}, fmt.Errorf("nobody listens on TCP port %d", port)
}

// heldListeners are the listening sockets among held, on port unless that is 0,
// lowest port first.
func heldListeners(held map[int]bool, port int) (found []listener, err error) {
	all, err := listeners()
	for _, l := range all {
		if held[l.inode] && (port == 0 || int(l.addr.Port()) == port) {
			found = append(found, l)
		}
	}
	slices.SortStableFunc(found, func(a, b listener) int { return int(a.addr.Port()) - int(b.addr.Port()) })
	return found, err
}

// stopProcesses stops every process that holds the socket, and looks again until no new
// one has come: a server may be about to fork.
func (f *freezer) stopProcesses() error {
	line := ancestors()
	for {
		fresh := 0
		for _, pid := range socketHolders(map[int]bool{f.listener.inode: true}) {
			if slices.Contains(f.result.Processes, pid) {
				continue
			}
			if line[pid] {
				return fmt.Errorf("process %d holds the socket too, and is an ancestor of this program: stopping it would stop us", pid)
			}
			fresh++
			f.result.Processes = append(f.result.Processes, pid)
			if err := f.stopProcess(pid); err != nil {
				return err
			}
		}
		if fresh == 0 {
			break
		}
	}
	if len(f.result.Processes) == 0 {
		return fmt.Errorf("the server on %v is gone", f.listener.addr)
	}
	slices.Sort(f.result.Processes)
	return nil
}

// stopProcess stops pid, unless somebody else has: then it stays stopped afterwards.
func (f *freezer) stopProcess(pid int) error {
	if p, _ := readProcess(pid); p.state == 'T' {
		return nil
	}
	f.stopped = append(f.stopped, pid) // even if halt fails: resuming does no harm
	if err := stopAndWait(pid); errors.Is(err, unix.EPERM) {
		return fmt.Errorf("process %d is not yours to stop: run this as its owner or as root", pid)
	} else if err != nil && err != unix.ESRCH {
		return fmt.Errorf("cannot stop process %d: %w", pid, err)
	}
	return nil
}

// countAdmitted connects clients, one after the other, until one is ignored.
func (f *freezer) countAdmitted(ctx context.Context, most int) error {
	now, err := f.refreshListener()
	if err != nil {
		return err
	}
	f.result.Listener, f.result.Waiting, f.result.Limit = now.addr.String(), now.Waiting, now.Limit
	f.result.Somaxconn, _ = sysctl("net/core/somaxconn")
	f.result.Why = explainLimit(now.Limit, f.result.Somaxconn)
	r := &unacceptedListener{fd: -1, addr: f.listener.dialAddr().String()}
	defer r.close()
	err = f.admitClients(ctx, r, most)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return cmp.Or(f.reconcile(ctx), err) // who is in another queue may be why it gave up
}

// admitClients counts those whose SYN is answered.
func (f *freezer) admitClients(ctx context.Context, r *unacceptedListener, most int) error {
	for ; ctx.Err() == nil; f.result.Admitted++ {
		if f.result.Admitted == most {
			return fmt.Errorf("gave up: %d clients are in, and the queue (limit %d) takes more; -most allows for more", most, f.result.Limit)
		}
		in, err := r.connectOne()
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
			return fmt.Errorf("gave up: %d clients are in, and this program may open no more descriptors; raise the limit, ulimit -n", f.result.Admitted)
		} else if err != nil || !in {
			return err
		}
	}
	return nil
}

// reconcile compares our number with the kernel's. A last ACK may still be on its
// way on a busy machine: it is given a second.
func (f *freezer) reconcile(ctx context.Context) error {
	for until := time.Now().Add(time.Second); ; {
		now, err := f.refreshListener()
		if err != nil {
			return err
		}
		queued := now.Waiting - f.result.Waiting
		switch {
		case queued == f.result.Admitted:
			return nil
		case queued > f.result.Admitted:
			return fmt.Errorf("%d handshakes were answered but %d are in this queue: others came to %v meanwhile; try again", f.result.Admitted, queued, f.listener.addr)
		case time.Now().After(until):
			return fmt.Errorf("%d handshakes were answered but %d are in this queue: the server has several sockets on %v (SO_REUSEPORT), or TCP_DEFER_ACCEPT", f.result.Admitted, queued, f.listener.addr)
		case !sleepContext(ctx, pollInterval):
			return ctx.Err()
		}
	}
}

// refreshListener finds the listener once more.
func (f *freezer) refreshListener() (listener, error) {
	found, err := heldListeners(map[int]bool{f.listener.inode: true}, 0)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("the server on %v does not listen any more", f.listener.addr)
	}
	if err != nil {
		return listener{}, err
	}
	return found[0], nil
}

// explainLimit says where the limit comes from.
func explainLimit(limit, somaxconn int) string {
	known := map[int]string{
		5:   ", what Python's socketserver asks for",
		50:  ", what Java's ServerSocket asks for",
		128: ", what SOMAXCONN was before Linux 5.4",
		511: ", what nginx, Node.js, Apache and Redis ask for",
	}
	if limit == somaxconn {
		return fmt.Sprintf("%d is net.core.somaxconn: the server asked for that much or more, as Go's net package does", limit)
	}
	return fmt.Sprintf("the server called listen(fd, %d)%s", limit, known[limit])
}

func (f *freezer) print(asJSON bool) error {
	if asJSON {
		line, _ := json.Marshal(f.result)
		_, err := fmt.Fprintf(f.stdout, "%s\n", line)
		return err
	}
	waiting := ""
	if f.result.Waiting > 0 {
		waiting = fmt.Sprintf(" (%d were waiting before)", f.result.Waiting)
	}
	_, err := fmt.Fprintf(f.stdout, "%s\n  listens on %s; %s stopped\n  %s got in, the next was ignored%s\n  limit %d: %s\n",
		f.result.Server, f.result.Listener, plural(len(f.result.Processes), "process"), plural(f.result.Admitted, "client"), waiting, f.result.Limit, f.result.Why)
	return err
}

// resumeAll resumes who was stopped, and ends what was started.
func (f *freezer) resumeAll() {
	for _, pid := range f.stopped {
		unix.Kill(pid, unix.SIGCONT)
	}
	if f.spawned != nil {
		f.spawned.terminate()
	}
}

// A command is a server that freeze has started. Whatever it forks stays below
// us, for we are a subreaper, prctl(2): when a parent dies, we are the new one.
type command struct {
	argv   []string
	cmd    *exec.Cmd
	port   int           // that {addr} or {port} named; 0 for none
	exited chan struct{} // closed when the command itself, maybe not its children, has ended
	output *os.File      // what all of them print; a pipe would break when the command ends and its children go on
}

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
	os.Remove(c.output.Name()) // it has no name from here on, and is gone with its last descriptor
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		c.output.Close()
		return nil, fmt.Errorf("prctl: %w", err)
	}
	runtime.LockOSThread() // the parent that Pdeathsig is about is a thread
	c.cmd = exec.Command(c.argv[0], c.argv[1:]...)
	c.cmd.Env = append(os.Environ(), "ADDR="+host+":"+port, "PORT="+port)
	c.cmd.Stdout, c.cmd.Stderr = c.output, c.output
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		runtime.UnlockOSThread()
		c.output.Close()
		return nil, fmt.Errorf("cannot start %s: %w", c.argv[0], err)
	}
	go func() { c.cmd.Wait(); close(c.exited) }() // end waits for it
	return c, nil
}

// awaitListener waits until the command, or a process below it, listens.
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

// terminate asks everything below us to end, and kills what does not.
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

// liveProcesses are the processes below us that have not ended. It buries those that
// have and were orphans; the command itself is waited for elsewhere.
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

// outputTail are the end of what the command printed, for when it fails.
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
