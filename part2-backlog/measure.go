package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A workload is plan's model on a real kernel: clients connect at random times to a
// server with a real accept queue.
type workload struct {
	rho      float64       // offered load: arrival rate times service time
	service  time.Duration // time for each client
	backlog  int
	arrivals int
	seed     uint64 // equal seeds give equal arrival times
}

// A measurement is the result of one workload, next to the model's prediction.
type measurement struct {
	Backlog    int     `json:"backlog"`
	Arrivals   int     `json:"arrivals"`
	Blocked    int     `json:"blocked"`           // clients whose SYN was ignored
	Load       float64 `json:"load"`              // as measured: a sleep is never exact
	Predicted  float64 `json:"predicted_percent"` // by the model, for Load
	Measured   float64 `json:"measured_percent"`
	Band       float64 `json:"band_percent"` // 1.96 standard deviations: 19 of 20 measurements should be within it
	LateEvents int     `json:"late"`         // clients and services late by half a service time: the machine was busy
}

// noisy reports whether the machine was too busy for a fair measurement: more than 2 %
// of the clients or services were late, and late clients arrive in bunches.
func (m measurement) noisy() bool { return m.LateEvents > m.Arrivals/50 }

// withinBand reports whether the measurement is within 1.5 times the band. The factor
// allows for blocked clients coming in clusters, which the band ignores.
func (m measurement) withinBand() bool { return math.Abs(m.Measured-m.Predicted) <= 1.5*m.Band }

// play connects l.arrivals clients and counts those whose SYN is ignored. Each client
// closes immediately; one that the kernel let in keeps its place in the queue.
func (l workload) play(ctx context.Context) (m measurement, err error) {
	r, err := listenUnaccepted("127.0.0.1:0", l.backlog)
	if err != nil {
		return m, err
	}
	w := worker{fd: r.fd, service: l.service}
	worked := make(chan struct{})
	go func() { w.work(); close(worked) }() // play waits for worked
	m.Backlog, m.Arrivals = l.backlog, l.arrivals
	moments := l.arrivalTimes()
	began := time.Now()
	for _, moment := range moments {
		if sleepUntil(began.Add(moment)) > l.service/2 {
			m.LateEvents++
		}
		if err = ctx.Err(); err != nil {
			break
		}
		in, comeErr := r.connectOne()
		if comeErr != nil {
			err = comeErr
			break
		} else if !in {
			m.Blocked++
		}
		unix.Close(r.clients[0])
		r.clients = r.clients[:0]
	}
	took := time.Since(began)
	w.stop.Store(true)
	<-worked
	r.close()
	m.Load = float64(l.arrivals) / float64(took) * float64(w.busy) / float64(max(w.served, 1))
	p := blockingProbabilities(m.Load, l.backlog)[l.backlog]
	m.Predicted, m.Measured = rounded(100*p), rounded(100*float64(m.Blocked)/float64(l.arrivals))
	m.LateEvents += w.lateServices
	m.Load, m.Band = rounded(m.Load), rounded(196*math.Sqrt(p*(1-p)/float64(l.arrivals)))
	return m, err
}

// arrivalTimes returns when each client connects, measured from the start: uniformly at
// random over the time that makes the load rho. It first measures how long a service
// really takes, because a sleep is never exact.
func (l workload) arrivalTimes() []time.Duration {
	const tries = 10
	began := time.Now()
	for range tries {
		sleepUntil(time.Now().Add(l.service))
	}
	all := float64(time.Since(began)) / tries / l.rho * float64(l.arrivals)
	random := rand.New(rand.NewPCG(l.seed, 0))
	moments := make([]time.Duration, l.arrivals)
	for i := range moments {
		moments[i] = time.Duration(random.Float64() * all)
	}
	slices.Sort(moments)
	return moments
}

// A worker is a server without HTTP: it accepts, sleeps for the service time, closes.
type worker struct {
	fd           int
	service      time.Duration
	stop         atomic.Bool
	served       int
	busy         time.Duration
	lateServices int // services that took at least half as long again
}

func (w *worker) work() {
	for !w.stop.Load() {
		fd, _, err := accept(w.fd)
		if err != nil {
			continue // EAGAIN after pollInterval, or EINTR
		}
		began := time.Now()
		if sleepUntil(began.Add(w.service)) > w.service/2 {
			w.lateServices++
		}
		unix.Close(fd)
		w.served++
		w.busy += time.Since(began)
	}
}

// sleepUntil sleeps in select(2) until at, and returns by how much it overslept:
// usually 0.1 ms. time.Sleep is sometimes a whole millisecond late, and late clients
// arrive in bunches.
func sleepUntil(at time.Time) time.Duration {
	left := time.Until(at)
	for ; left > 0; left = time.Until(at) {
		wait := unix.NsecToTimeval(int64(left))
		unix.Select(0, nil, nil, nil, &wait) // after EINTR the loop sleeps for the rest
	}
	return -left
}

// runMeasurement plays p's load against four backlogs concurrently, each with its own
// server, and prints model and kernel side by side. own says that no other program
// adds to the kernel's counters.
func (p plan) runMeasurement(ctx context.Context, stdout io.Writer, arrivals int, own, asJSON bool) error {
	if _, err := readCounters(); err != nil {
		return err
	}
	service := min(max(p.service, 2*time.Millisecond), 5*time.Millisecond)
	seconds := float64(arrivals) / p.load() * service.Seconds() // a time.Duration would overflow
	if seconds > 3600 {
		return fmt.Errorf("%d clients at a load of %.3g would take %.3g hours: choose a higher -rate or a smaller -n", arrivals, p.load(), seconds/3600)
	}
	aside := stdout // for what is not a result
	if asJSON {
		aside = io.Discard
	} else {
		fmt.Fprintln(stdout, wrap(fmt.Sprintf("load %.3g, played with %v of work for each of %d clients at each backlog: %.0f s\n", p.load(), service, arrivals, seconds), "  "))
	}
	before, _ := readCounters()
	stop := progress(aside)
	all, err := playAll(ctx, workload{rho: p.load(), service: service, arrivals: arrivals, seed: 1}, 0, 1, 2, 5)
	stop()
	if err != nil {
		return err
	}
	after, _ := readCounters()
	t := totals{Drops: after.sub(before).Drops, Noisy: slices.ContainsFunc(all, measurement.noisy)}
	for _, m := range all {
		t.Blocked += m.Blocked
	}
	if asJSON {
		return t.printJSON(stdout, all)
	}
	return t.print(stdout, all, own)
}

// totals are the sums over all measurements.
type totals struct {
	Blocked int  `json:"blocked"`
	Drops   int  `json:"listen_drops"`
	Noisy   bool `json:"disturbed"` // at least one measurement was
}

func (t totals) printJSON(stdout io.Writer, all []measurement) error {
	out := json.NewEncoder(stdout)
	for _, m := range all {
		if err := out.Encode(m); err != nil {
			return err
		}
	}
	return out.Encode(t)
}

func (t totals) print(stdout io.Writer, all []measurement, own bool) error {
	fmt.Fprint(stdout, "  backlog   load measured   turned away: model     kernel   (± in 19 of 20 runs)\n")
	for _, m := range all {
		fmt.Fprintf(stdout, "  %7d %15.3f %18.2f %% %8.2f %%   (± %.2f %%)\n", m.Backlog, m.Load, m.Predicted, m.Measured, m.Band)
	}
	if t.Noisy {
		fmt.Fprint(stdout, "\n  this machine was busy, and the clients were late: try again\n")
	}
	_, err := fmt.Fprintf(stdout, "\n  clients whose SYN was ignored: %d; the kernel's ListenDrops: +%d\n", t.Blocked, t.Drops)
	if !own {
		_, err = fmt.Fprintln(stdout, wrap("  (for the whole machine: a network namespace of its own requires root, or a system that allows user namespaces)", "  "))
	}
	return err
}

// playAll plays l for several backlogs concurrently.
func playAll(ctx context.Context, l workload, backlogs ...int) ([]measurement, error) {
	results, errs := make([]measurement, len(backlogs)), make([]error, len(backlogs))
	var all sync.WaitGroup
	for i, backlog := range backlogs {
		one := l
		one.backlog, one.seed = backlog, l.seed+uint64(i)
		all.Go(func() { results[i], errs[i] = one.play(ctx) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}
