package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A thread that has just stopped at a system call is gone when another ends the process.
func TestThreadThatIsGoneIsNoFailureOfTheTrace(t *testing.T) {
	t.Parallel()
	skipIfJudging(t)
	var tr tracer

	tr.syscall(1 << 30) // the kernel gives out no such number

	assert.NoError(t, tr.err)
}
