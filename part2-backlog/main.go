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

const usage = `usage: part2-backlog [serve] [-addr ADDRESS] [-backlog N] [-delay DURATION] [-watch [-json]] [-grace DURATION]
       part2-backlog burst [-addr ADDRESS] [-n N] [-every DURATION] [-connect-timeout DURATION] [-timeout DURATION] [-json]
       part2-backlog demo [-json]
       part2-backlog facts [-full] [-json]
       part2-backlog freeze [-json] (-pid PID | -port PORT | -- COMMAND...)
       part2-backlog plan [-rate N] [-service DURATION] [-target PERCENT] [-timeout DURATION] [-measure [-n CLIENTS]] [-json]
       part2-backlog trace [-backlog N] [-connect-timeout DURATION] [-pcap FILE] [-json]
example: part2-backlog serve -backlog 0 -delay 5s -watch
`

const backlog = 128 // connections that may wait in the accept queue: the default of -backlog

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// verbs are the verbs other than serve. Each function declares its verb's flags and
// returns the action to run once they have been parsed.
var verbs = map[string]func(flags *flag.FlagSet, stdout io.Writer) func(context.Context) error{
	"burst":  burstVerb,
	"demo":   demoVerb,
	"facts":  factsVerb,
	"freeze": freezeVerb,
	"plan":   planVerb,
	"trace":  traceVerb,
}

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
	if declare := verbs[verb]; declare != nil {
		do := declare(flags, stdout)
		action = func() error { return untilSignal(do) }
	} else if verb == "serve" {
		addr := flags.String("addr", "127.0.0.1:8080", "IP `address` and port to listen on; port 0 picks a free one")
		grace := flags.Duration("grace", 5*time.Second, "how long after SIGINT or SIGTERM queued connections may take to be served")
		length := countFlag(flags, "backlog", backlog, 0, maxBacklog, "how `many` connections may wait to be accepted; Linux lets one more in")
		delay := durationFlag(flags, "delay", 0, 0, "how much `time` the server spends on each request")
		watch := flags.Bool("watch", false, "show the accept queue, on stderr")
		asJSON := flags.Bool("json", false, "with -watch: print a line of JSON for each change, on stdout")
		action = func() error {
			if *asJSON && !*watch {
				return fmt.Errorf("serve %w: -json says how to show what -watch shows; give both", errUsage)
			}
			return serve(*addr, *length, *delay, *grace, stdout, newGauge(stdout, stderr, *watch, *asJSON))
		}
	} else {
		fmt.Fprintf(stderr, "unknown verb %q\n%s", verb, usage)
		return 2
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		help(stdout)
		return 0
	} else if err != nil { // the flag package has printed the error
		help(stderr)
		return 2
	} else if flags.NArg() > 0 && verb != "freeze" {
		fmt.Fprintf(stderr, "unexpected argument %q\n%s", flags.Arg(0), usage)
		return 2
	}
	if err := action(); errors.Is(err, errUsage) {
		fmt.Fprintf(stderr, "%v\n%s", err, usage)
		return 2
	} else if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// errUsage is wrapped by the error of an action whose flags do not fit together.
var errUsage = errors.New("not understood")

// untilSignal runs an action with a context that SIGINT, SIGTERM or SIGHUP cancels; a
// second signal ends the program.
func untilSignal(do func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop)
	err := do(ctx)
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted")
	}
	return err
}

// serve runs a server until SIGINT or SIGTERM, then gives it grace to finish; a
// second signal ends it immediately.
func serve(addr string, length int, delay, grace time.Duration, stdout io.Writer, g *gauge) error {
	if grace < 0 {
		return fmt.Errorf("bad grace %v: want a time that is not negative, such as 5s", grace)
	}
	fd, err := listen(addr, length)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	log := slog.New(slog.NewTextHandler(g, nil))
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
