// Program serve serves the lab, or plays one experiment in a terminal:
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
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"socketup/notes/lab"
	"socketup/part3-pipelining/server"
	"socketup/part3-pipelining/socket"
)

const usage = `usage: serve [-root DIR] [-addr ADDRESS]
       serve play [-root DIR] [-json] EXPERIMENT [SETTING=VALUE]...
example: serve play backlog backlog=0 clients=20 timeout=100 said=5
`

const (
	backlog = 128             // connections; a reader has one browser
	grace   = 5 * time.Second // for what is in progress when the program is told to stop
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes one command line and returns the exit status: 0 on success, 1 when
// something failed, 2 for a usage error.
func run(args []string, stdout, stderr io.Writer) int {
	play := len(args) > 0 && args[0] == "play"
	if play {
		args = args[1:]
	}
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {}
	root := flags.String("root", "..", "the repository's top `directory`")
	addr := flags.String("addr", "127.0.0.1:8080", "IP `address` and port to listen on; port 0 picks a free one")
	asJSON := flags.Bool("json", false, "with play: print the result as JSON")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return 0
	} else if err != nil || play != (flags.NArg() > 0) {
		fmt.Fprint(stderr, usage)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	l := lab.New(*root)
	defer l.Close()
	if play {
		err = playOne(ctx, l, flags.Args(), *asJSON, stdout)
	} else {
		err = serve(ctx, l, *addr, stdout, slog.New(slog.NewTextHandler(stderr, nil)))
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// playOne plays an experiment, and prints what happens as it happens.
func playOne(ctx context.Context, l *lab.Lab, args []string, asJSON bool, stdout io.Writer) error {
	query := url.Values{}
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		query.Set(name, value)
	}
	r, err := l.Start(ctx, args[0], query)
	if err != nil {
		return err
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

// serve serves the lab until ctx ends.
func serve(ctx context.Context, l *lab.Lab, addr string, stdout io.Writer, log *slog.Logger) error {
	fd, err := socket.Listen(addr, backlog)
	if err != nil {
		return err
	}
	s, err := server.New(fd, l.Handler(elsewhere), server.DefaultLimits, log)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "listening on http://%s, the lab is /lab.html\n", socket.LocalAddr(fd))
	done := make(chan struct{})
	go func() { s.Serve(); close(done) }() // serve waits for it, within grace
	<-ctx.Done()
	l.Close() // ends a run, and with it the response that waits for it
	s.Stop()
	select {
	case <-done:
		return nil
	case <-time.After(grace):
		return fmt.Errorf("a response was not read within %v", grace)
	}
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
