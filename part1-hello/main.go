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

const (
	program = "part1-hello"
	example = program + " serve -addr [::1]:0"
	backlog = 128 // connections that may wait in the accept queue; part 2 is about this number
)

var verbs = []verb{
	{"serve", "", "Answers HTTP requests, one connection at a time, until ^C.", serveVerb},
	{"demo", "", "Shows one connection call by call, and what three ways to close do to 200 clients.", demoVerb},
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func serveVerb(flags *flag.FlagSet, stdout, stderr io.Writer) func() error {
	addr := flags.String("addr", "127.0.0.1:8080", "IP `address` and port to listen on; port 0 picks a free one")
	grace := flags.Duration("grace", 5*time.Second, "how long after SIGINT or SIGTERM queued connections may take to be served")
	format := logFormatFlag(flags)
	return func() error { return serve(*addr, *grace, stdout, newLogger(stderr, *format)) }
}

func demoVerb(flags *flag.FlagSet, stdout, _ io.Writer) func() error {
	asJSON := flags.Bool("json", false, "print every experiment's events and results as JSON lines")
	return func() error { return untilInterrupted(func() error { return demo(stdout, *asJSON) }) }
}

// serve runs a server until SIGINT or SIGTERM, then gives it grace to finish; a
// second signal ends it immediately.
func serve(addr string, grace time.Duration, stdout io.Writer, log *slog.Logger) error {
	if grace < 0 {
		return fmt.Errorf("serve %w: bad grace %v: want a time that is not negative, such as 5s", errUsage, grace)
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
	log.Info(fmt.Sprintf("stopping: queued connections are served, up to %v; ^C again to stop now", grace))
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
