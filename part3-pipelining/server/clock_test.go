package server

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"socketup/part3-pipelining/http1"
)

// After SIGSTOP and SIGCONT, or on a machine that is too busy, the first tick is
// late. Clients who had no chance to be heard meanwhile are not late.
func TestTimeThatTheServerDidNotHaveIsNotCounted(t *testing.T) {
	ours(t)
	c := newClock()
	began := c.last

	c.tick(began.Add(time.Second), 2*time.Second)
	c.tick(began.Add(time.Hour), 2*time.Second)

	assert.Equal(t, 3*time.Second, time.Duration(c.now()), "one second, and two of the hour (clock.go, tick)")
	assert.Contains(t, string(*c.date.Load()), began.Add(time.Hour).UTC().Format(http1.DateFormat), "Date is what it is")
}
