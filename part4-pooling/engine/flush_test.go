package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"socketup/part4-pooling/internal/testutil"
)

type flusherFunc func()

func (f flusherFunc) Flush() { f() }

// While the reader flushes, the writer ends a job whose response is not wanted. Its
// flusher was once left to the reader, which forgot it: whatever was buffered up to
// that job stayed there.
func TestFlusherOfAWithdrawnJobIsNotLost(t *testing.T) {
	t.Parallel()
	y := &engineYard{linger: testutil.MaxWait}
	y.open = func(Lane) (Lane, error) { return newFakeLane(func(*Job) fate { return fateRespond }), nil }
	flushing, release, flushed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var r Registry
	var e *Engine
	first, second := newFakeSink("1"), newFakeSink("2")
	first.flusher = flusherFunc(func() { close(flushing); <-release })
	second.flusher = flusherFunc(func() { close(flushed) })
	second.left.Store(true)
	require.True(t, r.Push("a", &first.Job, func() *Engine { e = y.engine(); return e }))
	testutil.Receive(t, flushing, "the reader flushes the first response")

	require.True(t, r.Push("a", &second.Job, y.engine))
	testutil.Receive(t, second.finished, "the writer ends the second job")
	testutil.Eventually(t, "the writer has no job", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return e.inFlight == 0
	})
	close(release)

	testutil.Receive(t, flushed, "the second job's flusher is called. engine.go, send")
	r.OnClientGone()
	y.empty(t)
}
