package lab

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"time"
)

// A Lab plays one experiment at a time and keeps the latest results. Any goroutine may
// call any method.
type Lab struct {
	programs *programs
	maxTime  time.Duration   // MaxTime, except in tests
	ctx      context.Context // ends with Close
	close    context.CancelCauseFunc

	mu      sync.Mutex // guards the rest
	current *Run       // in progress, or nil
	last    int        // the number of the latest run
	kept    []*Run     // the latest runs, oldest first
}

// keptRuns is how many results a Lab keeps: a reader who compares two runs finds both.
const keptRuns = 20

var (
	// ErrBusy says that another run is in progress.
	ErrBusy = errors.New("another run is in progress: one experiment at a time, or they would disturb each other. It ends within 30 seconds")
	// ErrUnknown says that there is no experiment with that name.
	ErrUnknown = errors.New("the lab has the experiments close, backlog, pipeline and pool")
)

// New returns a lab that builds the programs of the parts from the repository at root,
// when an experiment first needs them. The caller must Close it.
func New(root string) *Lab {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Lab{programs: &programs{root: root}, maxTime: MaxTime, ctx: ctx, close: cancel}
}

// Start begins a run of the experiment with that name. The query has its settings, and
// its prediction if the reader made one. The run ends when ctx does. The error is ErrBusy,
// ErrUnknown, or a sentence that names the setting.
func (l *Lab) Start(ctx context.Context, name string, query url.Values) (*Run, error) {
	e := find(name)
	if e == nil {
		return nil, ErrUnknown
	}
	v, said, err := e.parse(query)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil {
		return nil, ErrBusy
	} else if l.ctx.Err() != nil {
		return nil, errStopped
	}
	l.last++
	r := &Run{ID: l.last, lab: l, began: time.Now(), ended: make(chan struct{}), more: make(chan struct{}, 1)}
	l.current = r
	go func() { // Close waits for it
		l.run(ctx, r, e, v, said)
		l.mu.Lock()
		l.current, l.kept = nil, append(l.kept, r)
		l.kept = l.kept[max(0, len(l.kept)-keptRuns):]
		l.mu.Unlock()
		close(r.ended)
	}()
	return r, nil
}

// run plays the experiment until it ends, ctx does, the lab is closed, or the time is up.
func (l *Lab) run(ctx context.Context, r *Run, e *experiment, v values, said *int) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.ctx, func() { cancel(errStopped) })()
	ctx, stop := context.WithTimeoutCause(ctx, l.maxTime, errOver)
	defer stop()
	r.play(ctx, e, v, said)
}

// Lookup returns the result of a run that has ended, or false if there is none with that
// number, or no longer.
func (l *Lab) Lookup(id int) (Result, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.kept {
		if r.ID == id {
			return r.result, true
		}
	}
	return Result{}, false
}

// Close ends a run in progress, waits until nothing of it is left, and removes the
// programs that were built. Start must not be called afterwards.
func (l *Lab) Close() {
	l.close(errStopped)
	l.mu.Lock()
	r := l.current
	l.mu.Unlock()
	if r != nil {
		<-r.ended
	}
	l.programs.remove()
}
