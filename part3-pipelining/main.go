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

const usage = `usage: part3-pipelining [serve] [-addr ADDRESS] [-grace DURATION] [-root DIR [-dotfiles]] [-wait DRIVER] [LIMITS]
       part3-pipelining pipe ADDRESS PATH...
       part3-pipelining demo [-json]
example: part3-pipelining pipe 127.0.0.1:8080 /sleep/300ms / /stream/3
`

const backlog = 4096 // connections that may wait to be accepted; the kernel caps it at net.core.somaxconn

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes one command line and returns the exit status: 0 on success, 1
// when the action failed, 2 for a usage error.
func run(args []string, stdout, stderr io.Writer) int {
	verb := "serve"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		verb, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {} // help prints it, to stdout or stderr as the case requires
	help := func(w io.Writer) { fmt.Fprint(w, usage); flags.SetOutput(w); flags.PrintDefaults() }
	check := func() error { return noArguments(flags) }
	var action func() error
	switch verb {
	case "serve":
		o := serveFlags(flags)
		check = func() error { return errors.Join(noArguments(flags), o.limits.Validate()) }
		action = func() error { return serve(o, stdout, slog.New(slog.NewTextHandler(stderr, nil))) }
	case "pipe":
		check = func() error { return checkPipelineArguments(flags.Args()) }
		action = func() error { return runPipeline(stdout, flags.Arg(0), flags.Args()[1:]) }
	case "demo":
		asJSON := flags.Bool("json", false, "print the first experiment's events as JSON lines")
		action = func() error { return demo(stdout, *asJSON) }
	default:
		fmt.Fprintf(stderr, "unknown verb %q\n%s", verb, usage)
		return 2
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		help(stdout)
		return 0
	} else if err != nil { // the flag package has printed the error
		help(stderr)
		return 2
	}
	if err := check(); err != nil {
		fmt.Fprintf(stderr, "%v\n%s", err, usage)
		return 2
	}
	if err := action(); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func noArguments(flags *flag.FlagSet) error {
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return nil
}

// options are the flags of serve.
type options struct {
	addr     string
	grace    time.Duration
	root     string
	dotfiles bool // also serve files whose names begin with a dot
	limits   server.Limits
}

func serveFlags(f *flag.FlagSet) *options {
	o := &options{}
	f.StringVar(&o.addr, "addr", "127.0.0.1:8080", "IP `address` and port to listen on; port 0 picks a free one, and fd:3 is a listening socket passed as descriptor 3")
	f.DurationVar(&o.grace, "grace", 5*time.Second, "how long after SIGINT or SIGTERM requests in flight and queued connections may take to be served")
	f.StringVar(&o.root, "root", "", "`directory` whose files are served under /files/")
	f.BoolVar(&o.dotfiles, "dotfiles", false, "also serve files and directories whose names begin with a dot")
	o.limits.AddFlags(f)
	return o
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
	s.KeepQueue = socket.IsInherited(o.addr)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	fmt.Fprintf(stdout, "listening on http://%s\n", socket.LocalAddr(fd))
	done := make(chan struct{})
	go func() { s.Serve(); close(done) }()

	<-signals
	log.Info("stopping: serving requests in flight and queued connections; a second signal stops immediately")
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
