// Part 1: an HTTP server that handles one connection at a time, with every
// system call in plain sight.
//
//	go run ./part1-hello         serve http://127.0.0.1:8080
//	go run ./part1-hello demo    watch one connection, then three ways to close 200 of them
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
)

const usage = `usage: part1-hello [serve] [-addr ADDRESS] [-grace DURATION]
       part1-hello demo [-json]
example: part1-hello serve -addr [::1]:0
`

const backlog = 128 // connections that may wait in the accept queue; part 2 is about this number

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
	var action func() error
	switch verb {
	case "serve":
		addr := flags.String("addr", "127.0.0.1:8080", "IP `address` and port to listen on; port 0 picks a free one")
		grace := flags.Duration("grace", 5*time.Second, "how long after SIGINT or SIGTERM queued connections may take to be served")
		action = func() error { return serve(*addr, *grace, stdout, slog.New(slog.NewTextHandler(stderr, nil))) }
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
	} else if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "unexpected argument %q\n%s", flags.Arg(0), usage)
		return 2
	}
	if err := action(); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// serve runs a server until SIGINT or SIGTERM, then gives it grace to finish; a
// second signal ends it immediately.
func serve(addr string, grace time.Duration, stdout io.Writer, log *slog.Logger) error {
	if grace < 0 {
		return fmt.Errorf("bad grace %v: want a time that is not negative, such as 5s", grace)
	}
	fd, err := listen(addr, backlog)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	s := newServer(fd, log)
	done := make(chan struct{})
	go func() { s.serve(); close(done) }()
	fmt.Fprintf(stdout, "listening on http://%s\n", localAddr(fd))

	<-signals
	log.Info("stopping: serving queued connections; a second signal stops immediately")
	s.stop()
	select {
	case <-done:
		return nil
	case <-signals:
		return errors.New("stopped by a second signal")
	case <-time.After(grace):
		return fmt.Errorf("grace is over after %v: some clients got no response", grace)
	}
}
