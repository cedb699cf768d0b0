package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func console(info, block string) map[string]string {
	return map[string]string{"notes/a.md": "# A\n\n```console" + info + "\n" + block + "```\n"}
}

func TestWhatIsNeverTheSameTwiceIsMasked(t *testing.T) {
	for was, is := range map[string]string{
		"took 1.23 ms":                        "took 640 µs",
		"  12.345 ms  x":                      " 1012.345 ms x",
		"ok \tpart\t0.123s":                   "ok part (cached)",
		"1m3.5s":                              "12ns",
		"at 127.0.0.1:43210":                  "at 127.0.0.1:50001",
		"[::1]:43210, port 43210":             "[::1]:50001, port 50001",
		"pid 12":                              "pid 345",
		"Date: Fri, 20 Nov 2026 21:50:00 GMT": "Date: Sat, 21 Nov 2026 01:02:03 GMT",
		"time=2026-11-20T21:50:00.123Z x":     "time=2026-11-21T01:02:03.456+01:00 x",
	} {
		a, _ := mask(was, "")
		b, _ := mask(is, "")
		assert.Equal(t, a, b)
	}
	for was, is := range map[string]string{"status 200": "status 404", "127.0.0.1:8080": "127.0.0.1:8081", "3 resets": "0 resets"} {
		a, _ := mask(was, "")
		b, _ := mask(is, "")
		assert.NotEqual(t, a, b)
	}
}

func TestConsoleOutputIsKept(t *testing.T) {
	r := fixture(t, console("", "$ echo one; echo two >&2; printf 'a \\r\\n'\nOne\n$ echo \\\n  took 5 ms\ntook 17 ms\n"))
	drift(t, r, "console", "-One\n    +one\n    +two\n    +a\n")

	text := mended(t, r, "console", "notes/a.md")

	assert.Contains(t, text, "one\ntwo\na\n$ echo \\\n  took 5 ms\ntook 17 ms\n", "masked equal: the old output stays")
}

const background = "$ trap 'rm up; exit' TERM; touch up; echo early >&2; echo listening on :8080; while :; do sleep 0.01; done &\nearly\nlistening on :8080\n$ ls up; echo :8080\nup\n:8080\n"

func TestServersAreAwaitedAndEnded(t *testing.T) {
	r := fixture(t, console("", background))

	truth(t, r, "console")

	assert.NoFileExists(t, r.abs("up"))
}

func TestNamedPortsAreReplacedByFreeOnes(t *testing.T) {
	forth, back, err := freePorts("serve -addr 127.0.0.1:8080\nnc 127.0.0.1 8080")

	require.NoError(t, err)
	assert.NotContains(t, forth.Replace("nc 127.0.0.1 8080"), "8080")
	assert.Equal(t, "8080", back.Replace(forth.Replace("8080")))
}

func TestBlocksRunAsIfNoMakeHadStartedThisProgram(t *testing.T) {
	t.Setenv("MAKELEVEL", "2")
	t.Setenv("MAKEFLAGS", "w")
	t.Setenv("MFLAGS", "-w")

	truth(t, fixture(t, console("", "$ echo \"<$MAKELEVEL$MAKEFLAGS$MFLAGS>\"\n<>\n")), "console")
}

// A helper process plays a program notes that is killed while a block runs. What the
// block has started must not outlive it.
func TestNoCommandOutlivesTheProgram(t *testing.T) {
	if file := os.Getenv("BE_KILLED"); file != "" {
		_, _ = repo{filepath.Dir(file), t.Context()}.replay([]step{{command: "(echo $BASHPID >pid; mv pid " + file + "; exec sleep 1000)"}})
		return
	}
	file := filepath.Join(t.TempDir(), "started")
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "BE_KILLED="+file)
	require.NoError(t, cmd.Start())
	var pid []byte
	require.Eventually(t, func() bool { pid, _ = os.ReadFile(file); return len(pid) > 0 }, 30*time.Second, time.Millisecond)

	_ = cmd.Process.Kill()
	_ = cmd.Wait()

	assert.Eventually(t, func() bool {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	}, 10*time.Second, time.Millisecond, "process %s outlived the program that started it. console.go, scriptBegins", pid)
}

func TestConsoleBlocksSayWhyTheyAreNotChecked(t *testing.T) {
	truth(t, fixture(t, console(" once — needs root", "$ false\nx\n")), "console")
	truth(t, fixture(t, console(" mask=/x+/", "$ echo xx\nxxxx\n")), "console")
	drift(t, fixture(t, console(" once", "$ false\nx\n")), "console", "REASON")
	drift(t, fixture(t, console(" mask=/(/", "$ false\n")), "console", "missing closing )")
	drift(t, fixture(t, console("", "hello\n")), "console", "begins with a command")
	drift(t, fixture(t, console("", background+"$ exit 1\n")), "console", "`exit 1` ended the shell")

	r := fixture(t, console("", "$ no-such-program -x\n1\n"))
	assert.Contains(t, truth(t, r, "console"), "notes/a.md:3: not checked: needs no-such-program")
	out, ok := says(t, checkVerb, r, "-only", "console", "-strict")
	assert.False(t, ok, out)
}
