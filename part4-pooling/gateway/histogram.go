package gateway

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"socketup/part4-pooling/server"
)

// bucketBounds are the upper bounds of a Histogram's buckets: from a response out of the
// loop's memory to a backend that is given up. Each is about 2.5 times the one before, so
// a percentile that Prometheus computes is wrong by less than that.
var bucketBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// A Histogram counts durations by their size. Any goroutine may use it; the zero value is
// ready.
type Histogram struct {
	buckets [len(bucketBounds) + 1]atomic.Uint64 // durations up to each bound and above the one before it; the last: above all
	nanos   atomic.Int64                         // the sum of all durations
}

// Observe counts d.
func (h *Histogram) Observe(d time.Duration) {
	i, _ := slices.BinarySearch(bucketBounds[:], d) // the first bound that is not less than d
	h.buckets[i].Add(1)
	h.nanos.Add(int64(d))
}

// write writes h as the metric name, whose buckets include those below them.
func (h *Histogram) write(w *server.Response, name string) {
	n := uint64(0)
	for i, bound := range bucketBounds {
		n += h.buckets[i].Load()
		writeMetric(w, name+"_bucket", fmt.Sprintf("le=\"%g\"", bound.Seconds()), n)
	}
	n += h.buckets[len(bucketBounds)].Load()
	writeMetric(w, name+"_bucket", `le="+Inf"`, n)
	fmt.Fprintf(w, "%s_sum %g\n", name, time.Duration(h.nanos.Load()).Seconds())
	writeMetric(w, name+"_count", "", n)
}

// A stopwatch measures one duration. The zero value measures none.
type stopwatch struct{ began time.Time }

func (s *stopwatch) start() { s.began = time.Now() }

// stop counts the time since start in h. Further calls do nothing.
func (s *stopwatch) stop(h *Histogram) {
	if !s.began.IsZero() {
		h.Observe(time.Since(s.began))
		*s = stopwatch{}
	}
}

// Responses are the measurements of all responses of a server, forwarded or not. Any
// goroutine may use them; the zero value is ready.
type Responses struct {
	Duration Histogram        // from the end of a request's head until its response is passed on to be written
	byClass  [6]atomic.Uint64 // by the first digit of the status; 0: the client got none
}

// Observe counts v. It is for server.Server.OnServed.
func (r *Responses) Observe(v server.Served) {
	class := v.Status / 100
	if class < 1 || class > 5 {
		class = 0
	}
	r.byClass[class].Add(1)
	r.Duration.Observe(v.Duration)
}
