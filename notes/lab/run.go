package lab

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// MaxTime is how long a run may take.
const MaxTime = 30 * time.Second

// An Event is one thing that happened in a run. Who and What are for a reader; the
// other fields are for the page, which draws them.
type Event struct {
	MS    float64 `json:"ms"` // since the run began
	Who   string  `json:"who"`
	What  string  `json:"what"`
	Lane  int     `json:"lane,omitempty"`  // the client, slot or policy, counted from 1
	State string  `json:"state,omitempty"` // of the lane from now on
	Count *Counts `json:"count,omitempty"`
}

// Counts are what a run has counted so far. Each experiment uses some of them.
type Counts struct {
	Whole    int `json:"whole,omitempty"`    // close: complete responses
	Resets   int `json:"resets,omitempty"`   // close: connections reset
	Waiting  int `json:"waiting,omitempty"`  // backlog: connections in the accept queue; pool: callers without a connection
	Places   int `json:"places,omitempty"`   // backlog: in the accept queue; pool: connections that there may be
	SYNs     int `json:"syns,omitempty"`     // backlog: sent by this client
	Leased   int `json:"leased,omitempty"`   // pool
	Idle     int `json:"idle,omitempty"`     // pool
	Dialled  int `json:"dialled,omitempty"`  // pool: connections opened
	Answered int `json:"answered,omitempty"` // pool
	Failed   int `json:"failed,omitempty"`   // pool
}

// A Result is all that is known about a run that has ended.
type Result struct {
	ID         int               `json:"id"`
	Experiment string            `json:"experiment"`
	Settings   map[string]string `json:"settings"`
	Said       *int              `json:"said,omitempty"` // the prediction
	Was        int               `json:"was"`
	Unit       string            `json:"unit"` // of Said and Was, as the sentence has it
	Sentence   string            `json:"sentence"`
	Error      string            `json:"error,omitempty"` // the run failed or was ended; Was means nothing
	Command    string            `json:"command"`
	Parts      []string          `json:"parts,omitempty"` // commands of the parts that show the same
	Events     []Event           `json:"events,omitempty"`
}

// A Run is an experiment in progress, or one that has ended.
type Run struct {
	ID int

	lab   *Lab
	ended chan struct{} // closed when result is complete

	mu     sync.Mutex // guards began, events and result
	began  time.Time
	events []Event
	result Result
	more   chan struct{} // holds a token if events has grown since the last Next
}

// Next returns the events from number from on, which may be none.
func (r *Run) Next(from int) []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[from:]
}

// More returns a channel that receives when there are new events. One goroutine may
// follow a run.
func (r *Run) More() <-chan struct{} { return r.more }

// Ended returns a channel that is closed when the run has ended and nothing of it is
// left.
func (r *Run) Ended() <-chan struct{} { return r.ended }

// Result waits until the run has ended.
func (r *Run) Result() Result {
	<-r.ended
	return r.result
}

// emit adds an event that happens now.
func (r *Run) emit(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.MS = milliseconds(time.Since(r.began))
	r.events = append(r.events, e)
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// begin sets the run's clock to zero: what came before was preparation.
func (r *Run) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began = time.Now()
}

// since returns the time on the run's clock.
func (r *Run) since() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.began)
}

// milliseconds returns d with two decimals.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

// errOver is the cause of a context that ends a run after MaxTime.
var errOver = fmt.Errorf("the run was ended after %v", MaxTime)

// errStopped is the cause of a context that ends a run because the reader has stopped
// it or closed the page.
var errStopped = errors.New("the run was stopped")

// play runs e and completes the result.
func (r *Run) play(ctx context.Context, e *experiment, v values, said *int) {
	o, err := e.play(ctx, r, v)
	r.mu.Lock()
	defer r.mu.Unlock()
	settings := map[string]string{}
	for _, s := range e.Settings {
		settings[s.Name] = s.show(v[s.Name])
	}
	r.result = Result{ID: r.ID, Experiment: e.Name, Settings: settings, Said: said, Was: o.was, Unit: e.Predict.Many,
		Command: e.Command(v), Parts: e.Parts(v), Events: r.events}
	if err != nil {
		r.result.Was, r.result.Error = 0, err.Error()
		r.result.Sentence = "There is no result: " + err.Error() + "."
		return
	}
	r.result.Sentence = e.sentence(said, o)
}
