package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
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

// shownBy returns what a terminal shows while f uses its screen.
func shownBy(t testing.TB, f func(screen *os.File)) string {
	t.Helper()
	screen, keys := terminal(t)
	shown := make(chan string, 1)
	go func() { // ends with EIO when screen is closed
		text, _ := io.ReadAll(keys)
		shown <- string(text)
	}()
	f(screen)
	screen.Close()
	return receive(t, shown, "all output has been read")
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

		assert.Equal(t, c.want, colored(c.w, "client"), "TERM=%s NO_COLOR=%s. terminal.go, paint", c.term, c.noColor)
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
	const rule = "house rule: the demo has colours on a terminal, whatever it prints through (terminal.go, isTerminal)"
	assert.Regexp(t, `\x1b\[36mclient .*\x1b\[0m`, text, rule)
	assert.Regexp(t, `\x1b\[33mserver .*\x1b\[0m`, text, rule)
	requireNarrow(t, text)
}

func TestWhatWentWrongIsRed(t *testing.T) {
	skipIfJudging(t)
	screen, _ := terminal(t)
	t.Setenv("TERM", "xterm-256color")
	t.Setenv("NO_COLOR", "")

	assert.Equal(t, "1 of 1 places taken, \x1b[31mFULL\x1b[0m", highlight(screen, "1 of 1 places taken, FULL"))
	assert.Equal(t, "\x1b[31mignores a SYN\x1b[0m: ListenDrops +1", highlight(screen, "ignores a SYN: ListenDrops +1"))
	assert.Equal(t, "\x1b[31mFULL\x1b[0m; \x1b[31m2 ignored\x1b[0m", highlight(screen, "FULL; 2 ignored"))
	assert.Equal(t, "; 0 ignored", highlight(screen, "; 0 ignored"))
}

// An error in a file or a pipe is one line, for grep; on a terminal it is broken between
// words.
func TestErrorsAreBrokenOnlyOnATerminal(t *testing.T) {
	skipIfJudging(t)
	t.Setenv("TERM", "xterm-256color")
	words := strings.Repeat("words ", 20)
	for _, args := range [][]string{{"demo", words}, {"serve", "-log-format", words}} {
		var stderr bytes.Buffer

		run(args, io.Discard, &stderr)
		shown := shownBy(t, func(screen *os.File) { run(args, io.Discard, screen) })

		assert.Regexp(t, `^[^\n]* words "[^\n]*\n(?s:.*)usage: `, stderr.String())
		requireNarrow(t, shown)
		assert.Regexp(t, `^\r\x1b\[K[^\n]* words\r\nwords `, shown, "commandline.go, printError")
	}
}
