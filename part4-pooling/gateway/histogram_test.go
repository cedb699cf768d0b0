package gateway

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part4-pooling/server"
)

// count returns how many durations were counted.
func (h *Histogram) count() (n uint64) {
	for i := range h.buckets {
		n += h.buckets[i].Load()
	}
	return n
}

func TestDurationIsInTheBucketOfItsBound(t *testing.T) {
	for i, bound := range bucketBounds {
		var h Histogram

		h.Observe(bound)
		h.Observe(bound + 1)

		assert.EqualValues(t, 1, h.buckets[i].Load(), "%v", bound)
		assert.EqualValues(t, 1, h.buckets[i+1].Load(), "more than %v", bound)
		assert.EqualValues(t, 2, h.count())
		assert.EqualValues(t, 2*bound+1, h.nanos.Load())
	}
}

func TestResponsesAreCountedByTheFirstDigitOfTheirStatus(t *testing.T) {
	var r Responses

	for _, status := range []int{0, 200, 204, 404, 503, 999} {
		r.Observe(server.Served{Status: status, Duration: time.Millisecond})
	}

	for class, want := range []uint64{2, 0, 2, 0, 1, 1} {
		assert.Equal(t, want, r.byClass[class].Load(), "%dxx", class)
	}
	assert.EqualValues(t, 6, r.Duration.count())
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for b.Loop() {
		h.Observe(3 * time.Millisecond)
	}
}
