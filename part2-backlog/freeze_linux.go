package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A freezer stops a server, counts the clients that the kernel lets into its accept
// queue meanwhile, and resumes it. This works with a server in any language: the
// queue is the kernel's, and a stopped process accepts no connection.
type freezer struct {
	stdout   io.Writer
	spawned  *command // nil for a server that was already running
	stopped  []int    // the processes that freeze stopped, and resumes
	listener listener
	result   freezeResult
}

// A freezeResult is what freeze prints.
type freezeResult struct {
	Server    string `json:"server"`
	Listener  string `json:"listener"`
	Processes []int  `json:"processes"` // the processes that hold the socket; all of them stopped
	Waiting   int    `json:"waiting"`   // in the queue before the first client
	Admitted  int    `json:"admitted"`
	Limit     int    `json:"limit"`
	Somaxconn int    `json:"somaxconn"`
	Why       string `json:"why"`
}

func freezeVerb(flags *flag.FlagSet, stdout io.Writer) func(context.Context) error {
	pid := countFlag(flags, "pid", 0, 1, 1<<22, "`PID` of the server to freeze, which must be yours")
	port := countFlag(flags, "port", 0, 1, maxPort, "`PORT` on which the server to freeze listens, which must be yours")
	wait := durationFlag(flags, "wait", 20*time.Second, time.Millisecond, "how long the command may take to start listening")
	most := countFlag(flags, "most", 10000, 1, 60000, "after how many clients to give up")
	asJSON := flags.Bool("json", false, "print the result as JSON")
	return func(ctx context.Context) error {
		argv := flags.Args()
		if given := []bool{*pid > 0, *port > 0, len(argv) > 0}; !slices.Contains(given, true) || given[0] && given[1] || given[2] && (given[0] || given[1]) {
			return fmt.Errorf("freeze %w: it takes one of -pid, -port and a command, such as: freeze -- python3 -m http.server --bind {host} {port}", errUsage)
		}
		// Only SIGKILL can end this program before it has resumed the server: the first of
		// these signals cancels ctx, and from here on none kills or stops this program, not
		// even a second one, or SIGPIPE from a closed stdout. SIGTTOU is ignored, because if
		// it were caught, it would recur at every attempt to write.
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

// findListener finds the server's listening socket: that of the command argv, which it
// starts, or of process pid, or the one on port.
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

// stopProcesses stops every process that holds the socket, and repeats that until it
// finds no new one: a server may be about to fork.
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

// stopProcess stops pid. A process that was already stopped stays so afterwards.
func (f *freezer) stopProcess(pid int) error {
	if p, _ := readProcess(pid); p.state == 'T' {
		return nil
	}
	f.stopped = append(f.stopped, pid) // even if stopAndWait fails: resuming does no harm
	if err := stopAndWait(pid); errors.Is(err, unix.EPERM) {
		return fmt.Errorf("process %d is not yours to stop: run this as its owner or as root", pid)
	} else if err != nil && err != unix.ESRCH {
		return fmt.Errorf("cannot stop process %d: %w", pid, err)
	}
	return nil
}

// countAdmitted connects clients, one after another, until the kernel ignores one.
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
	return cmp.Or(f.reconcile(ctx), err) // first, because it explains more: the missing clients may be in another queue
}

// admitClients connects clients and counts those whose SYN is answered, most of them
// at the most.
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

// reconcile compares our count with the kernel's. It waits for a second at most: on a
// busy machine the last ACK may still be in flight.
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
			return fmt.Errorf("%d handshakes were answered but %d are in this queue: other clients connected to %v meanwhile; try again", f.result.Admitted, queued, f.listener.addr)
		case time.Now().After(until):
			return fmt.Errorf("%d handshakes were answered but %d are in this queue: the server has several sockets on %v (SO_REUSEPORT), or TCP_DEFER_ACCEPT", f.result.Admitted, queued, f.listener.addr)
		case !sleepContext(ctx, pollInterval):
			return ctx.Err()
		}
	}
}

// refreshListener returns the listener with its queue as it is now.
func (f *freezer) refreshListener() (listener, error) {
	found, err := heldListeners(map[int]bool{f.listener.inode: true}, 0)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("the server on %v no longer listens", f.listener.addr)
	}
	if err != nil {
		return listener{}, err
	}
	return found[0], nil
}

// explainLimit explains where a limit comes from.
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
	text := fmt.Sprintf("%s\n  listens on %s; %s stopped\n  %s got in, the next was ignored%s\n  limit %d: %s",
		f.result.Server, f.result.Listener, plural(len(f.result.Processes), "process"), plural(f.result.Admitted, "client"), waiting, f.result.Limit, f.result.Why)
	_, err := fmt.Fprintln(f.stdout, wrap(text, "    "))
	return err
}

// resumeAll resumes the processes that freeze stopped, and ends the command that it
// started.
func (f *freezer) resumeAll() {
	for _, pid := range f.stopped {
		unix.Kill(pid, unix.SIGCONT)
	}
	if f.spawned != nil {
		f.spawned.terminate()
	}
}
