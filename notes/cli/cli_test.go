package cli

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"socketup/part3-pipelining/server"
)

func TestExitStatuses(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		says   string
	}{
		{nil, 0, ""},
		{errors.New("bad luck"), 1, "it: bad luck\n"},
		{fmt.Errorf("%w: what?", ErrUsage), 2, "it: not understood: what?; it -h lists what there is\n"},
		{ErrInterrupted, 130, "it: interrupted\n"},
	} {
		var stdout, stderr bytes.Buffer
		p := Program{Name: "it", Flags: flag.NewFlagSet("it", flag.ContinueOnError), Action: func([]string) error { return c.err }}

		assert.Equal(t, c.status, p.Run(nil, &stdout, &stderr))

		assert.Empty(t, stdout.String())
		assert.Equal(t, c.says, stderr.String())
	}
}

// interruptServe serves until the first signal, and calls afterwards when the program
// has answered it.
func interruptServe(t *testing.T, finish, afterwards func()) error {
	out, stdout := io.Pipe()
	wrong, stderr := io.Pipe()
	interrupt := func() { require.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGINT)) }
	ended := make(chan error, 1)
	go func() {
		ended <- Serve("127.0.0.1:0", ", a note", func(*server.Response, *server.Request) {}, finish, stdout, stderr)
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	assert.Regexp(t, `^listening on http://127\.0\.0\.1:\d+, a note\n$`, line)

	interrupt()

	line, err = bufio.NewReader(wrong).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "stopping, in 5s at most; ^C again to stop now\n", line)
	afterwards()
	return <-ended
}

func TestFirstSignalIsAnsweredInWords(t *testing.T) {
	finished := false

	err := interruptServe(t, func() { finished = true }, func() {})

	assert.NoError(t, err)
	assert.True(t, finished)
}

func TestSecondSignalDoesNotWait(t *testing.T) {
	stuck := make(chan bool)
	defer close(stuck)

	err := interruptServe(t, func() { <-stuck }, func() {
		require.NoError(t, syscall.Kill(syscall.Getpid(), syscall.SIGTERM)) // another one: two of a kind may arrive as one
	})

	assert.ErrorContains(t, err, "second signal")
}
