package lab

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"socketup/part4-pooling/pool"
)

// The experiment of chapter 6: a backend is paused for longer than it keeps idle
// connections, and then continues. Four clients with four policies each have a backend
// of their own, and send requests as soon as it continues.

var pooling = experiment{
	Name:  "pool",
	Title: "Pool",
	About: "Four pools, each full of idle connections to a backend of its own (part 4's verb keep). The backends are paused with SIGSTOP, " +
		"continue, and get requests at once. While they are paused their kernels keep the connections open: no check can see that they are about to be closed.",
	Settings: []setting{
		{Name: "size", Label: "connections in each pool", Low: 1, High: 32, Step: 1, Default: 20},
		{Name: "idle", Label: "backend keeps idle ones for, ms", Low: 50, High: 1000, Step: 10, Default: 250},
		{Name: "pause", Label: "backend is paused for, ms", Low: 0, High: 2000, Step: 10, Default: 400},
		{Name: "callers", Label: "callers of each pool", Low: 1, High: 50, Step: 1, Default: 20},
	},
	Predict: setting{Name: "said", Label: "How many requests fail although the connection was checked?", High: 50, Step: 1, Default: 0, One: "request failed although its connection was checked", Many: "requests failed although their connections were checked"},
	Parts:   func(values) []string { return []string{"go run ./part4-pooling demo"} },
	play:    playPool,
}

// The policies, in their lanes.
const (
	unchecked = iota // reuse without a check
	checked          // check before reuse
	dropping         // drop all connections when the backend is paused
	retrying         // check, and retry once: a PUT, which may be repeated
)

var policies = []string{"reuse unchecked", "check before reuse", "drop all when paused", "check and retry once"}

func playPool(ctx context.Context, r *Run, v values) (outcome, error) {
	if _, err := r.lab.programs.build(ctx, "part4-pooling"); err != nil {
		return outcome{}, err
	}
	r.begin()
	var group sync.WaitGroup
	failed, errs := make([]int, len(policies)), make([]error, len(policies))
	for i := range policies {
		group.Go(func() { failed[i], errs[i] = playPolicy(ctx, r, v, i) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return outcome{}, cause(ctx, err)
		}
	}
	text := fmt.Sprintf("Of %d by each policy there failed: %s", v["callers"], policies[0])
	for i, name := range policies {
		if i > 0 {
			text += ", " + name
		}
		text += fmt.Sprintf(" %d", failed[i])
	}
	return outcome{failed[checked], text + "."}, nil
}

// playPolicy pauses a backend while connections to it are idle, and returns how many
// requests failed afterwards.
func playPolicy(ctx context.Context, r *Run, v values, policy int) (int, error) {
	backend, err := r.startServer(ctx, "part4-pooling", "keep", "-idle", fmt.Sprintf("%dms", v["idle"]))
	if err != nil {
		return 0, err
	}
	defer backend.kill()
	k := newKeeper(backend.addr, policy, v["size"])
	defer k.close()
	w := poolWatch{run: r, policy: policy, keeper: k, places: v["size"]}
	if err := k.fill(ctx, v["size"]); err != nil {
		return 0, err
	}
	defer w.start()()
	w.report("keeps "+plural(v["size"], "connection", "connections")+" after one request on each", "idle")
	if v["pause"] > 0 {
		if err := w.pause(ctx, backend, time.Duration(v["pause"])*time.Millisecond); err != nil {
			return 0, err
		}
	}
	var group sync.WaitGroup
	for range v["callers"] {
		group.Go(func() { w.count(k.call(ctx)) })
	}
	group.Wait()
	w.report(fmt.Sprintf("%d of %d requests failed", w.failed.Load(), v["callers"]), "ended")
	return int(w.failed.Load()), ctx.Err()
}

// A poolWatch reports how many connections of a pool are leased and idle.
type poolWatch struct {
	run              *Run
	policy, places   int
	keeper           keeper
	failed, answered atomic.Int64
}

// pause stops the backend for d. A client that drops its connections does it when the
// backend has been stopped.
func (w *poolWatch) pause(ctx context.Context, backend *child, d time.Duration) error {
	if err := backend.pause(); err != nil {
		return err
	}
	w.report(fmt.Sprintf("its backend is paused for %v", d), "paused")
	if w.policy == dropping {
		w.keeper.drop()
		w.report("drops its connections", "paused")
	}
	if err := sleep(ctx, d); err != nil {
		return err
	}
	w.report("its backend continues, and all callers send", "calling")
	return backend.resume()
}

// count counts the result of one request.
func (w *poolWatch) count(err error) {
	if err == nil {
		w.answered.Add(1)
		return
	}
	w.failed.Add(1)
	w.report("a request fails: "+err.Error(), "calling")
}

// start reports each change of the pool until the function that it returns is called.
func (w *poolWatch) start() (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() { // stop waits for it
		defer close(done)
		last := Counts{}
		for {
			if now := w.counts(); now != last {
				last = now
				w.run.emit(w.event(fmt.Sprintf("%d leased, %d idle, %d opened so far", now.Leased, now.Idle, now.Dialled), "", now))
			}
			select {
			case <-quit:
				return
			case <-time.After(tick):
			}
		}
	}()
	return func() { close(quit); <-done }
}

func (w *poolWatch) counts() Counts {
	n := w.keeper.counts()
	n.Places, n.Failed, n.Answered = w.places, int(w.failed.Load()), int(w.answered.Load())
	return n
}

func (w *poolWatch) report(what, state string) { w.run.emit(w.event(what, state, w.counts())) }

func (w *poolWatch) event(what, state string, n Counts) Event {
	return Event{Who: policies[w.policy], What: what, Lane: w.policy + 1, State: state, Count: &n}
}

// poolLimits are the limits of a pool that keeps its connections for longer than the
// backend does, which is the mistake that the experiment is about.
func poolLimits(size int) pool.Limits {
	return pool.Limits{PerBackend: size, Total: size, MaxWait: 5 * time.Second, IdleTime: time.Hour, Lifetime: time.Hour}
}
