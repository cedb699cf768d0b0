package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal opens a pseudoterminal. A program writes to screen; the test reads
// from keys, as a terminal emulator does. pty(7).
func terminal(t testing.TB) (screen, keys *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("there are no pseudoterminals here: ", err)
	}
	t.Cleanup(func() { keys.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { screen.Close() })
	return screen, keys
}

func TestColoursAreUsedOnlyOnACapableTerminal(t *testing.T) {
	skipIfJudging(t)
	screen, _ := terminal(t)
	const coloured = "\x1b[36mclient  \x1b[0m"
	for _, c := range []struct {
		w             io.Writer
		term, noColor string
		want          string
	}{
		{screen, "xterm-256color", "", coloured},
		{screen, "xterm-256color", "1", "client  "},
		{screen, "dumb", "", "client  "},
		{screen, "", "", "client  "},
		{&bytes.Buffer{}, "xterm-256color", "", "client  "},
	} {
		t.Setenv("TERM", c.term)
		t.Setenv("NO_COLOR", c.noColor)

		assert.Equal(t, c.want, colored(c.w, "client"), "TERM=%s NO_COLOR=%s. timeline.go, colored", c.term, c.noColor)
	}
}

// No writer between the demo and the terminal may hide that it is a terminal.
func TestDemoOnATerminalHasColours(t *testing.T) {
	t.Parallel()
	cmd := programCommand(t, "demo")
	screen, keys := terminal(t)
	cmd.Env = append(cmd.Env, "TERM=xterm-256color", "NO_COLOR=")
	cmd.Stdout, cmd.Stderr = screen, screen
	require.NoError(t, cmd.Start())
	shown := make(chan string)
	go func() { // ends with EIO when the last process that has screen open closes it
		text, _ := io.ReadAll(keys)
		shown <- string(text)
	}()

	err := receiveWithin(t, 4*maxWait, exitStatusChan(cmd), "the demo ends")
	screen.Close()
	text := receive(t, shown, "all output has been read")

	require.NoError(t, err, "%s", text)
	const rule = "house rule: the demo has colours on a terminal, whatever it prints through (timeline.go, isTerminal)"
	assert.Regexp(t, `\x1b\[36mclient .*\x1b\[0m`, text, rule)
	assert.Regexp(t, `\x1b\[33mserver .*\x1b\[0m`, text, rule)
}
