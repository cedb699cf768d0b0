// Part 3: an HTTP/1.1 server that accepts many requests on one connection,
// handles them concurrently, and responds in request order.
//
//	go run ./part3-pipelining                                 serve http://127.0.0.1:8080
//	go run ./part3-pipelining pipe 127.0.0.1:8080 / /sleep/1s  pipeline requests to a server
//	go run ./part3-pipelining demo                            order kept and time saved, on a timeline
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"socketup/part3-pipelining/server"
	"socketup/part3-pipelining/socket"
)

const (
	program = "part3-pipelining"
	example = program + " pipe 127.0.0.1:8080 /sleep/300ms / /stream/3"
	backlog = 4096 // connections that may wait to be accepted; the kernel caps it at net.core.somaxconn
)

var verbs = []verb{
	{"serve", "", "Answers HTTP/1.1 requests, many on each connection, until ^C.", serveVerb},
	{"pipe", "ADDRESS PATH...", "Sends a server one request for each PATH, all in one write, and shows when each response arrives.", pipeVerb},
	{"demo", "", "Shows that responses keep the order of their requests while the handlers run concurrently, and the time that saves.", demoVerb},
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func serveVerb(flags *flag.FlagSet, stdout, stderr io.Writer) func() error {
	o := serveFlags(flags)
	return func() error {
		if err := errors.Join(o.limits.Validate(), validateGrace(o.grace)); err != nil {
			return fmt.Errorf("serve %w: %w", errUsage, err)
		}
		return serve(o, stdout, newLogger(stderr, *o.logFormat))
	}
}

func pipeVerb(flags *flag.FlagSet, stdout, _ io.Writer) func() error {
	return func() error {
		if err := checkPipelineArguments(flags.Args()); err != nil {
			return fmt.Errorf("pipe %w: %w", errUsage, err)
		}
		return untilInterrupted(func() error { return runPipeline(stdout, flags.Arg(0), flags.Args()[1:]) })
	}
}

func demoVerb(flags *flag.FlagSet, stdout, _ io.Writer) func() error {
	asJSON := flags.Bool("json", false, "print every experiment's events and results as JSON lines")
	return func() error { return untilInterrupted(func() error { return demo(stdout, *asJSON) }) }
}

// options are the flags of serve.
type options struct {
	addr      string
	grace     time.Duration
	root      string
	dotfiles  bool // also serve files whose names begin with a dot
	limits    server.Limits
	logFormat *logFormat
	accessLog bool
}

func serveFlags(f *flag.FlagSet) *options {
	o := &options{}
	f.StringVar(&o.addr, "addr", "127.0.0.1:8080", "IP `address` and port to listen on; port 0 picks a free one, and fd:3 is a listening socket passed as descriptor 3")
	f.DurationVar(&o.grace, "grace", 5*time.Second, "how long after SIGINT or SIGTERM requests in flight and queued connections may take to be served")
	f.StringVar(&o.root, "root", "", "`directory` whose files are served under /files/")
	f.BoolVar(&o.dotfiles, "dotfiles", false, "also serve files and directories whose names begin with a dot")
	o.logFormat = logFormatFlag(f)
	f.BoolVar(&o.accessLog, "access-log", false, "log a line for each response: method, target, status, bytes, milliseconds, client; no response waits for the log, which may lack lines and then counts them")
	o.limits.AddFlags(f)
	return o
}

// validateGrace rejects a negative -grace.
func validateGrace(grace time.Duration) error {
	if grace < 0 {
		return fmt.Errorf("bad grace %v: want a time that is not negative, such as 5s", grace)
	}
	return nil
}

// serve runs a server until SIGINT or SIGTERM, then gives it o.grace to finish;
// a second signal ends it immediately.
func serve(o *options, stdout io.Writer, log *slog.Logger) error {
	var extra []route
	if o.root != "" {
		files, err := filesRoute(o.root, o.dotfiles)
		if err != nil {
			return err
		}
		extra = append(extra, files)
	}
	o.limits.ShareDescriptors(0, 0, log)
	fd, err := socket.Listen(o.addr, backlog)
	if err != nil {
		return err
	}
	s, err := server.New(fd, routes(extra...), o.limits, log)
	if err != nil {
		return err
	}
	if o.accessLog {
		a := newAccessLog(log)
		defer a.close()
		s.OnServed = a.record
	}
	s.KeepQueue = socket.IsInherited(o.addr)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	fmt.Fprintf(stdout, "listening on http://%s\n", socket.LocalAddr(fd))
	done := make(chan struct{})
	go func() { s.Serve(); close(done) }()

	<-signals
	log.Info(fmt.Sprintf("stopping: %s, up to %v; ^C again to stop now", plural(s.Connections(), "connection"), o.grace))
	s.Stop()
	select {
	case <-done:
		return nil
	case <-signals:
		return errors.New("stopped immediately by a second signal")
	case <-time.After(o.grace):
		return fmt.Errorf("grace is over after %v: some clients got no response", o.grace)
	}
}
