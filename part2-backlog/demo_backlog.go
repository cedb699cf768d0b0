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
	asJSON := flags.Bool("json", false, "print every experiment's events and results as JSON lines")
	return func(ctx context.Context) error { // in a namespace of its own, if possible: the counters then count nothing else
		return inNewNetns(ctx, flags, stdout, func(bool) error { return demo(ctx, stdout, *asJSON) })
	}
}

// demo runs the experiments of part 2 on this machine's kernel.
func demo(ctx context.Context, stdout io.Writer, asJSON bool) error {
	people, programs := audiences(stdout, asJSON)
	fmt.Fprintf(people, "THREE CLIENTS, ONE THREAD: %v of work for each request, a client every %v.\n", classic.serviceTime, classic.interval)
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
		if _, err := act.play(ctx, people, programs, act.title); err != nil {
			return err
		}
	}
	fmt.Fprint(people, "\nA backlog of 0 leaves room for one connection on Linux. One client too many is\n"+
		"not refused: its SYN is ignored, and its kernel sends it again after a second,\n"+
		"while the server may long be idle. notes/02-backlog.md tells the story.\n")
	return nil
}

// A backlogResult is what became of the clients of one experiment.
type backlogResult struct {
	Experiment  string `json:"experiment"`
	Clients     int    `json:"clients"`
	Answered    int    `json:"answered"`
	ListenDrops int    `json:"listen_drops"`
}

// play runs x and prints its timeline under a title.
func (x experiment) play(ctx context.Context, people, programs io.Writer, title string) (result, error) {
	fmt.Fprintf(people, "\n%s\n\n", title)
	stop := progress(people)
	r, err := x.run(ctx)
	stop()
	if err != nil {
		return r, err
	}
	r.print(people, false)
	r.experiment = title
	r.print(programs, true)
	printJSON(programs, backlogResult{title, x.clients, r.answered(), r.counterDelta.Drops})
	fmt.Fprintf(people, "\n    => %d of %d answered; ListenDrops +%d\n", r.answered(), x.clients, r.counterDelta.Drops)
	return r, nil
}
