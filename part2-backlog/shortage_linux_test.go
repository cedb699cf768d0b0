package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFailedCommandStartLeaksNoDescriptor(t *testing.T) {
	skipIfJudging(t)
	startCommand([]string{"/nowhere/to/be/found"}) // Go's runtime keeps some of what the first child needs
	before := descriptors()

	_, err := startCommand([]string{"/nowhere/to/be/found"})

	require.ErrorContains(t, err, "cannot start /nowhere/to/be/found")
	assert.LessOrEqual(t, descriptors(), before, "command_linux.go, startCommand")
}
