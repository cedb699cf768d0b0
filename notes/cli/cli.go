// Package cli is what the programs of the book and of the lab have in common: help,
// exit statuses, and a server that ^C stops.
package cli

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
	backlog = 128             // connections; a reader has one browser
	grace   = 5 * time.Second // for responses that are being sent when the program is told to stop
)

var (
	// ErrUsage is wrapped by the error of an action that was asked for what there is not.
	ErrUsage = errors.New("not understood")
	// ErrInterrupted is wrapped by the error of an action that a signal has ended early.
	ErrInterrupted = errors.New("interrupted")
)

// A Program is a command line with flags and one action.
type Program struct {
	Name, Help string
	Flags      *flag.FlagSet
	Action     func(operands []string) error
}

// Run executes one command line, and returns the exit status: 0 on success and after
// help, which goes to stdout; 1 when something failed, 2 when the command line makes no
// sense, 130 after ^C, each with one sentence on stderr.
func (p *Program) Run(args []string, stdout, stderr io.Writer) int {
	p.Flags.SetOutput(io.Discard) // what it prints is longer than a line, and on stderr
	err := p.Flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, p.Help)
		return 0
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrUsage, err)
	default:
		err = p.Action(p.Flags.Args())
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrUsage):
		fmt.Fprintf(stderr, "%s: %v; %s -h lists what there is\n", p.Name, err, p.Name)
		return 2
	}
	fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
	if errors.Is(err, ErrInterrupted) {
		return 130
	}
	return 1
}

// Serve serves h on addr until SIGINT or SIGTERM. It then says so, calls finish, which
// ends what h would wait for, and gives the responses that are being sent their time; a
// second signal ends that. note follows the address in the first line of stdout.
func Serve(addr, note string, h server.Handler, finish func(), stdout, stderr io.Writer) error {
	fd, err := socket.Listen(addr, backlog)
	if err != nil {
		return err
	}
	s, err := server.New(fd, h, server.DefaultLimits, slog.New(slog.NewTextHandler(stderr, nil)))
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	fmt.Fprintf(stdout, "listening on http://%s%s\n", socket.LocalAddr(fd), note)
	done := make(chan struct{})
	go func() { s.Serve(); close(done) }() // Serve waits for it, within grace

	select {
	case <-done:
		return nil
	case <-signals:
	}
	fmt.Fprintf(stderr, "stopping, in %v at most; ^C again to stop now\n", grace)
	go func() { finish(); s.Stop() }() // the program ends soon, whether it returns or not
	select {
	case <-done:
		return nil
	case <-signals:
		return errors.New("stopped immediately by a second signal")
	case <-time.After(grace):
		return fmt.Errorf("a response was not read within %v", grace)
	}
}
