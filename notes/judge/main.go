// Program judge walks the steps of a part and says how far a reader's program has
// come, in any language:
//
//	make judge PART=1 SERVER='python3 my.py'
//	make judge PART=4 CLIENT='python3 my.py'
//	make judge PART=4 STREAMS=1 SERVER='python3 my.py'
//
// It starts the program, runs the tests of each step in order against it, stops
// at the first step that fails, and says what was sent, what came back, which
// rule that breaks, a hint, and what to read. It exits 0 when all passed, 1 when
// a step failed, 2 when it was asked for what does not exist, 130 after ^C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const usage = `usage: make judge PART=1 SERVER='command' [STEP=1.3] [ALL=1] [WATCH=file] [PATIENCE=30s]
       make judge PART=4 STREAMS=1 SERVER='command' …
       make judge PART=2 CLIENT='command' [STEP=1.3] [ALL=1] [WATCH=file] [PATIENCE=30s]

  SERVER   the command that starts your server, run at the top of the repository;
           it listens on the address in $ADDR and stays in the foreground; a gateway
           (PART=4) asks the backend whose URL is in $BACKEND
  STREAMS  the gateway's backend speaks HTTP/2: $BACKEND begins with h2c://
  CLIENT   the command that starts your client (PART=2 or 4), once for each test: it reads
           requests from standard input, sends $CALLERS at a time, prints a line for each
  STEP     judge this step alone, or these: 1.3,1.4
  ALL      judge the steps after one that fails too
  WATCH    judge again whenever this file changes
  PATIENCE how long a test waits for a response (3s), and, if more than 10s, the judge
           for the start
`

func main() {
	adoptOrphans()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	w := walk{out: stdout, command: os.Getenv("SERVER"), only: os.Getenv("STEP"), all: os.Getenv("ALL") != "", streams: os.Getenv("STREAMS") != "", patience: defaultPatience}
	flags := flag.NewFlagSet("judge", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	flags.StringVar(&w.root, "root", ".", "the repository")
	flags.StringVar(&w.part, "part", "1", "the part")
	flags.StringVar(&w.binary, "tests", "", "the part's tests, compiled")
	if flags.Parse(args) != nil {
		return 2
	}
	if client := os.Getenv("CLIENT"); client != "" && w.command == "" {
		w.client, w.command = true, client
	}
	if w.command == "" {
		fmt.Fprint(stderr, "judge: say which server or client\n\n"+usage)
		return 2
	}
	if text := os.Getenv("PATIENCE"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			fmt.Fprintf(stderr, "judge: PATIENCE=%s is no time, as 30s is\n", text)
			return 2
		}
		w.patience = d
	}
	err := w.prepare(ctx)
	defer func() { os.RemoveAll(w.scratch); w.backend.release() }()
	if err != nil {
		return status(ctx, err, stderr)
	}
	if file := os.Getenv("WATCH"); file != "" {
		return status(ctx, w.watch(ctx, file), stderr)
	}
	return status(ctx, w.run(ctx), stderr)
}

// status says what err is, if nothing has, and returns the exit status for it.
func status(ctx context.Context, err error, stderr io.Writer) int {
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "judge: interrupted; your program is stopped")
		return 130
	case errors.Is(err, errFailed):
		return 1
	}
	fmt.Fprintf(stderr, "judge: %v\n", err)
	return 2
}

// watch walks now and again whenever file changes, until ctx is done.
func (w *walk) watch(ctx context.Context, file string) error {
	for {
		seen, err := os.Stat(file)
		if err != nil {
			return err
		}
		if err := w.run(ctx); err != nil && !errors.Is(err, errFailed) {
			return err
		}
		fmt.Fprintf(w.out, "Waiting for a change of %s; ^C ends.\n\n", file)
		for changed := false; !changed; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(200 * time.Millisecond):
			}
			now, err := os.Stat(file) // an editor may have it away for a moment
			changed = err == nil && (now.ModTime() != seen.ModTime() || now.Size() != seen.Size())
		}
	}
}
