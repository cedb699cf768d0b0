package main

import (
	"bufio"
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ^C ends a demo: in words, and with the status that a shell gives it.
func TestInterruptedDemoSaysSoWithStatus130(t *testing.T) {
	t.Parallel()
	for range 10 { // a short demo may end before the signal arrives
		cmd := programCommand(t, "demo", "-json")
		stdout, stderr := outputPipes(t, cmd)
		require.NoError(t, cmd.Start())
		_, err := bufio.NewReader(stdout).ReadString('\n') // it has begun
		require.NoError(t, err)

		require.NoError(t, cmd.Process.Signal(syscall.SIGINT))

		text, err := io.ReadAll(stderr)
		require.NoError(t, err)
		waitExit(t, cmd)
		if status := cmd.ProcessState.ExitCode(); status != 0 {
			assert.Equal(t, exitInterrupted, status)
			assert.Equal(t, "interrupted\n", string(text))
			return
		}
	}
	t.Error("no demo was interrupted")
}
