// Program lab serves the lab, or plays one experiment in a terminal:
//
//	go -C notes run ./lab/serve                            http://127.0.0.1:8080/lab.html
//	go -C notes run ./lab/serve play backlog clients=20    prints the events, and a sentence
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"socketup/notes/cli"
	"socketup/notes/lab"
	"socketup/part3-pipelining/server"
)

const help = `usage: lab [-root DIR] [-addr ADDRESS]
       lab play [-root DIR] [-json] EXPERIMENT [SETTING=VALUE]...

Serves the lab until ^C; with play, plays one experiment in the terminal.

  -root DIR
        the repository's top directory (default ..)
  -addr ADDRESS
        IP address and port to listen on; port 0 picks a free one
        (default 127.0.0.1:8080)
  -json
        with play: print the result as JSON

example: lab play backlog backlog=0 clients=20 timeout=100 said=5
`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes one command line and returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	play := len(args) > 0 && args[0] == "play"
	if play {
		args = args[1:]
	}
	flags := flag.NewFlagSet("lab", flag.ContinueOnError)
	root := flags.String("root", "..", "")
	addr := flags.String("addr", "127.0.0.1:8080", "")
	asJSON := flags.Bool("json", false, "")
	p := cli.Program{Name: "lab", Help: help, Flags: flags, Action: func(operands []string) error {
		l := lab.New(*root)
		defer l.Close()
		switch {
		case play && len(operands) == 0:
			return fmt.Errorf("%w: play what? %w", cli.ErrUsage, lab.ErrUnknown)
		case play:
			return playOne(l, operands, *asJSON, stdout)
		case len(operands) > 0:
			return fmt.Errorf("%w: unexpected argument %q", cli.ErrUsage, operands[0])
		}
		return cli.Serve(*addr, ", the lab is /lab.html", l.Handler(elsewhere), l.Close, stdout, stderr)
	}}
	return p.Run(args, stdout, stderr)
}

// playOne plays an experiment, and prints what happens as it happens.
func playOne(l *lab.Lab, args []string, asJSON bool, stdout io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program
	query := url.Values{}
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		query.Set(name, value)
	}
	r, err := l.Start(ctx, args[0], query)
	if err != nil {
		return fmt.Errorf("%w: %w", cli.ErrUsage, err) // no other run is in progress
	}
	for seen, ended := 0, false; !ended && !asJSON; {
		select {
		case <-r.More():
		case <-r.Ended():
			ended = true
		}
		for _, e := range r.Next(seen) {
			seen++
			fmt.Fprintf(stdout, "%8.1f ms  %-20s  %s\n", e.MS, e.Who, e.What)
		}
	}
	result := r.Result()
	if ctx.Err() != nil {
		return fmt.Errorf("%w; the run is ended", cli.ErrInterrupted)
	}
	if asJSON {
		text, _ := json.MarshalIndent(result, "", "  ") // strings and numbers: it cannot fail
		_, err = fmt.Fprintf(stdout, "%s\n", text)
	} else {
		_, err = fmt.Fprintf(stdout, "\n%s\n", result.Sentence)
	}
	if result.Error != "" {
		return errors.New(result.Error)
	}
	return err
}

// elsewhere has the page, and leads to it.
func elsewhere(w *server.Response, r *server.Request) {
	switch string(r.Path) {
	case "/lab.html":
		lab.ServePage(w, r)
	case "/":
		w.AddField("Location", "/lab.html")
		w.Status = 302
	default:
		w.Error(404, "the lab is at /lab.html")
	}
}
