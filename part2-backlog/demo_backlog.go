package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"
)

// classic is the experiment of part 2, three clients and one thread, at a tenth of its
// scale: each request takes 500 ms instead of 5 s. Only the kernel's retransmission,
// one second after the first SYN, cannot be shortened.
var classic = experiment{serviceTime: 500 * time.Millisecond, clients: 3, interval: 50 * time.Millisecond}

func demoVerb(flags *flag.FlagSet, stdout io.Writer) func(context.Context) error {
	asJSON := flags.Bool("json", false, "print the first experiment's events as JSON lines")
	return func(ctx context.Context) error { // in a namespace of its own, if possible: the counters then count nothing else
		return inNewNetns(ctx, flags, stdout, func(bool) error { return demo(ctx, stdout, *asJSON) })
	}
}

// demo runs the experiments of part 2 on this machine's kernel.
func demo(ctx context.Context, stdout io.Writer, asJSON bool) error {
	if asJSON {
		r, err := classic.run(ctx)
		if err == nil {
			r.print(stdout, true)
		}
		return err
	}
	fmt.Fprintf(stdout, "THREE CLIENTS, ONE THREAD: %v of work for each request, a client every %v.\n", classic.serviceTime, classic.interval)
	patient, hasty, roomy := classic, classic, classic
	hasty.connectTimeout = 100 * time.Millisecond
	roomy.backlog, roomy.connectTimeout = 1, 100*time.Millisecond
	for _, act := range []struct {
		title string
		experiment
	}{
		{"1. Backlog 0, no connect timeout", patient},
		{"2. Backlog 0, a connect timeout of 100ms", hasty},
		{"3. Backlog 1, a connect timeout of 100ms", roomy},
	} {
		if _, err := act.play(ctx, stdout, act.title); err != nil {
			return err
		}
	}
	fmt.Fprint(stdout, "\nA backlog of 0 leaves room for one connection on Linux. One client too many is\n"+
		"not refused: its SYN is ignored, and its kernel sends it again after a second,\n"+
		"while the server may long be idle. notes/02-backlog.md tells the story.\n")
	return nil
}

// play runs x and prints its timeline under a title.
func (x experiment) play(ctx context.Context, stdout io.Writer, title string) (result, error) {
	fmt.Fprintf(stdout, "\n%s\n\n", title)
	stop := progress(stdout)
	r, err := x.run(ctx)
	stop()
	if err != nil {
		return r, err
	}
	r.print(stdout, false)
	fmt.Fprintf(stdout, "\n    => %d of %d answered; ListenDrops +%d\n", r.answered(), x.clients, r.counterDelta.Drops)
	return r, nil
}
