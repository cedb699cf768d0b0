// Part 2: the queue in front of accept(2), and clients that do not wait for
// ever. The server is part 1's, with a backlog to choose and a delay that stands for
// work.
//
//	go run ./part2-backlog         serve http://127.0.0.1:8080
//	go run ./part2-backlog demo    watch three clients meet one thread
package main

import (
	"context"
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
	program = "part2-backlog"
	example = program + " serve -backlog 0 -delay 5s -watch"
	backlog = 128 // connections that may wait in the accept queue: the default of -backlog
)

var verbs = []verb{
	{"serve", "", "Answers HTTP requests, one connection at a time, until ^C; the others wait in the accept queue.", serveVerb},
	{"burst", "", "Sends a server more clients than it can serve at once, and says what became of each.", experimentVerb(burstVerb)},
	{"demo", "", "Shows three clients and one thread, with three backlogs and connect timeouts.", experimentVerb(demoVerb)},
	{"facts", "", "Predicts what this machine's kernel does with connections, and measures it.", experimentVerb(factsVerb)},
	{"freeze", "[-- COMMAND...]", "Stops a server, counts the clients that its accept queue takes meanwhile, and resumes it.", experimentVerb(freezeVerb)},
	{"plan", "", "Computes which backlog loses few enough clients, and how long they wait in it.", experimentVerb(planVerb)},
	{"trace", "", "Shows every packet between clients and a server whose accept queue is full.", experimentVerb(traceVerb)},
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// experimentVerb turns a verb whose action ends when its context is done into one that
// SIGINT, SIGTERM or SIGHUP interrupts; a second signal ends the program.
func experimentVerb(declare func(*flag.FlagSet, io.Writer) func(context.Context) error) func(flags *flag.FlagSet, stdout, _ io.Writer) func() error {
	return func(flags *flag.FlagSet, stdout, _ io.Writer) func() error {
		do := declare(flags, stdout)
		return func() error { return untilSignal(do) }
	}
}

func untilSignal(do func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop)
	err := do(ctx)
	if errors.Is(err, context.Canceled) || err != nil && ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

func serveVerb(flags *flag.FlagSet, stdout, stderr io.Writer) func() error {
	addr := flags.String("addr", "127.0.0.1:8080", "IP `address` and port to listen on; port 0 picks a free one")
	grace := flags.Duration("grace", 5*time.Second, "how long after SIGINT or SIGTERM queued connections may take to be served")
	length := countFlag(flags, "backlog", backlog, 0, maxBacklog, "how many connections may wait to be accepted; Linux lets one more in")
	delay := durationFlag(flags, "delay", 0, 0, "how long the server takes for each request")
	watch := flags.Bool("watch", false, "show the accept queue, on stderr")
	asJSON := flags.Bool("json", false, "with -watch: print a line of JSON for each change, on stdout")
	format := logFormatFlag(flags)
	return func() error {
		if *asJSON && !*watch {
			return fmt.Errorf("serve %w: -json says how to show what -watch shows; give both", errUsage)
		}
		g := newGauge(stdout, stderr, *watch, *asJSON)
		return serve(*addr, *length, *delay, *grace, stdout, g, newLogger(g, *format))
	}
}

// serve runs a server until SIGINT or SIGTERM, then gives it grace to finish; a
// second signal ends it immediately.
func serve(addr string, length int, delay, grace time.Duration, stdout io.Writer, g *gauge, log *slog.Logger) error {
	if grace < 0 {
		return fmt.Errorf("serve %w: bad grace %v: want a time that is not negative, such as 5s", errUsage, grace)
	}
	fd, err := listen(addr, length)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	s := newServer(fd, log)
	s.delay = delay
	done := make(chan struct{})
	go func() { s.serve(); close(done) }()
	ready := "listening on http://%s\n"
	if g.asJSON {
		ready = `{"listening":"http://%s"}` + "\n"
	}
	fmt.Fprintf(stdout, ready, localAddr(fd))
	if err := g.watch(fd); err != nil {
		log.Warn("cannot show the accept queue", "error", err)
	}

	<-signals
	g.stop() // before the server closes the socket
	log.Info(fmt.Sprintf("stopping: %s, up to %v; ^C again to stop now", describeQueue(fd), grace))
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

// describeQueue says how many connections wait in the accept queue of fd, where the
// system tells.
func describeQueue(fd int) string {
	q, err := readAcceptQueue(fd)
	if err != nil {
		return "queued connections are served"
	}
	return plural(q.Waiting, "queued connection")
}
