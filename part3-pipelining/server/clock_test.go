package server

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part3-pipelining/http1"
)

// After SIGSTOP and SIGCONT, or on a machine that is too busy, the first tick is late.
// The clients could not be served meanwhile, so the time is not counted against them.
func TestTimeWhilePausedIsNotCounted(t *testing.T) {
	skipIfJudging(t)
	c := newClock()
	began := c.lastTick

	c.advance(began.Add(time.Second), 2*time.Second)
	c.advance(began.Add(time.Hour), 2*time.Second)

	assert.Equal(t, 3*time.Second, time.Duration(c.now()), "one second, and at most two of the hour (clock.go, advance)")
	assert.Contains(t, string(*c.date.Load()), began.Add(time.Hour).UTC().Format(http1.DateFormat), "Date is the wall clock's time")
}
