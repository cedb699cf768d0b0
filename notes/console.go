package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A step is one command of a console block and what the block says it prints.
type step struct {
	command string // without "$ ", with its continuation lines
	output  string // whole lines
}

var (
	prompt      = regexp.MustCompile(`(?m)^\$ ((?:.*\\\n)*.*)\n`)
	consoleMask = regexp.MustCompile(`mask=/((?:[^/\\]|\\.)+)/`)
	consoleOnce = regexp.MustCompile(`once — \S`)
)

// checkConsole runs the commands of the console blocks again and compares
// what they print, apart from what is never the same twice.
func checkConsole(n *notes) error {
	ran, once, missing := 0, 0, 0
	for _, c := range n.chapters {
		fences, _ := c.fences()
		for _, f := range fences {
			switch {
			case f.lang != "console":
			case consoleOnce.MatchString(f.info):
				once++
			case strings.HasPrefix(f.info, "once"):
				n.say(c, f.start-1, "why is this block not run again? write ```console once — REASON")
			default:
				lacks := n.checkBlock(c, f)
				if lacks == "" {
					ran++
					continue
				}
				missing++
				if n.strict {
					n.say(c, f.start-1, "not checked: needs %s", lacks)
				} else {
					n.sum("%s:%d: not checked: needs %s", c.file, c.line(f.start-1), lacks)
				}
			}
		}
	}
	n.sum("console: %d blocks run again, %d marked once, %d not checked", ran, once, missing)
	return nil
}

// checkBlock runs one block. It returns the program that this machine lacks,
// if that is why the block says nothing.
func (n *notes) checkBlock(c *chapter, f fence) (lacks string) {
	steps, err := parseSteps(string(c.src[f.start:f.end]))
	if err == nil {
		_, err = mask("", f.info)
	}
	var outputs []string
	if err == nil {
		outputs, err = n.replay(steps)
	}
	for _, output := range outputs {
		if m := notInstalled.FindStringSubmatch(output); m != nil {
			return m[1]
		}
	}
	if err != nil {
		n.say(c, f.start-1, "%v", err)
		return ""
	}
	var b strings.Builder
	for i, step := range steps {
		was, _ := mask(step.output, f.info)
		if is, _ := mask(outputs[i], f.info); was != is {
			step.output = outputs[i]
		}
		b.WriteString("$ " + step.command + "\n" + step.output)
	}
	n.want(c, f.start, f.end, b.String(), "a new run")
	return ""
}

// notInstalled is how bash says that a command does not exist.
var notInstalled = regexp.MustCompile(`(?m)^bash: line \d+: (\S+): command not found$`)

// parseSteps reads a console block: a command follows "$ ", and goes on after a line
// that ends with a backslash.
func parseSteps(block string) ([]step, error) {
	var steps []step
	at := prompt.FindAllStringSubmatchIndex(block, -1)
	if at == nil || at[0][0] > 0 {
		return nil, fmt.Errorf("a console block begins with a command: `$ …`")
	}
	for i, m := range at {
		end := len(block)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		steps = append(steps, step{block[m[2]:m[3]], block[m[1]:end]})
	}
	return steps, nil
}

// A block runs as one script, in a process group of its own. First it starts a subshell
// that waits for the end of stdin, a pipe that only this program holds open, and then
// kills the group: no server outlives this program, even when SIGKILL ends it. A NUL
// follows the output of each command. When the script ends it asks the servers in the
// background to stop; the cat that reads a server's output keeps stderr open until the
// server has.
const (
	scriptBegins = "exec 3<&0 </dev/null\n(read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 &\nexec 3<&-\n" +
		"trap \"trap '' TERM; kill 0\" EXIT\n"
	commandEnds  = "\nprintf '\\0'\n"
	serverBegins = "exec {out}< <("
	serverEnds   = " 2>&1)\n" + `while IFS= read -r line <&$out; do printf '%s\n' "$line"; [[ $line == *"listening on"* ]] && break; done` +
		"\n(trap '' TERM; exec cat <&$out >/dev/null) &"
)

const blockLimit = 3 * time.Minute // for all commands of a block

// replay runs the steps and returns what each printed; a command that ends with & is a
// server, and has printed enough when it says where it listens. Ports like :8080 are
// replaced by free ones, and put back in the output.
func (r repo) replay(steps []step) ([]string, error) {
	script := scriptBegins
	for _, step := range steps {
		if server, ok := strings.CutSuffix(step.command, " &"); ok {
			script += serverBegins + server + serverEnds + commandEnds
		} else {
			script += step.command + commandEnds
		}
	}
	forth, back, err := freePorts(script)
	if err != nil {
		return nil, err
	}
	printed, err := r.bash(forth.Replace(script))
	outputs := strings.Split(back.Replace(printed), "\x00")
	for i := range outputs {
		outputs[i] = tidy(outputs[i])
	}
	if done := len(outputs) - 1; err == nil && done < len(steps) {
		err = fmt.Errorf("`%s` ended the shell", steps[done].command)
	} else if err != nil && done < len(steps) {
		err = fmt.Errorf("`%s`: %w", steps[done].command, err)
	}
	return outputs, err
}

// bash runs script in a process group of its own, at the root of the repository, and
// returns what it printed when the whole group has closed its output.
func (r repo) bash(script string) (string, error) {
	ctx, cancel := context.WithTimeout(r.ctx, blockLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = r.root
	// A make that runs this program tells a make in a block that it is its child, and the
	// child says which directory it enters. A reader's make is nobody's child.
	ofMake := func(entry string) bool {
		return strings.HasPrefix(entry, "MAKE") || strings.HasPrefix(entry, "MFLAGS=")
	}
	cmd.Env = append(slices.DeleteFunc(os.Environ(), ofMake), "NO_COLOR=1", "TERM=dumb", "LC_ALL=C.UTF-8", "PWD="+r.root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	leash, err := cmd.StdinPipe() // closed with this program, whatever ends it
	if err != nil {
		return "", err
	}
	defer leash.Close()
	err = cmd.Run()
	if cmd.Process != nil {
		_ = cmd.Cancel() // what did not stop when it was asked to
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("not done after %v; to leave it running, end it with &", blockLimit)
	case errors.As(err, &exit):
		err = nil // its output says so
	}
	return printed.String(), err
}

// tidy makes output fit for Markdown: whole lines without spaces at their
// ends or blank lines at the end of it.
func tidy(output string) string {
	lines := strings.Split(output, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " \t\r")
	}
	output = strings.TrimRight(strings.Join(lines, "\n"), "\n")
	if output != "" {
		output += "\n"
	}
	return output
}

var namedPort = regexp.MustCompile(`:(80\d\d)\b`)

// freePorts returns what exchanges the ports that script names for free ones, and what
// puts them back.
func freePorts(script string) (forth, back *strings.Replacer, err error) {
	var there, here []string
	for _, named := range namedPort.FindAllStringSubmatch(script, -1) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		defer l.Close() // when all are chosen, so that they differ
		_, free, _ := net.SplitHostPort(l.Addr().String())
		there, here = append(there, named[1], free), append(here, free, named[1])
	}
	return strings.NewReplacer(there...), strings.NewReplacer(here...), nil
}

// masks are what is never the same twice.
var masks = []struct {
	what *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?`), "DATE"},
	{regexp.MustCompile(`(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT`), "DATE"},
	{regexp.MustCompile(`[ \t]*\(cached\)`), " TIME"},
	{regexp.MustCompile(`[ \t]*\b(\d+h)?(\d+m)?\d+(\.\d+)? ?(ns|µs|μs|us|ms|s|min)\b`), " TIME"},
	{regexp.MustCompile(`(?i)\bpid[ =:]+\d+`), "PID"},
	{regexp.MustCompile(`(127\.0\.0\.1|\[::1\]|localhost):\d{5}\b`), "$1:PORT"},
	{regexp.MustCompile(`\bport \d{5}\b`), "port PORT"},
	{regexp.MustCompile(`[ \t]+`), " "},
}

// mask hides in output what is never the same twice, and what info, the rest
// of the fence's first line, says with mask=/REGEXP/.
func mask(output, info string) (string, error) {
	for _, m := range consoleMask.FindAllStringSubmatch(info, -1) {
		own, err := regexp.Compile("(?m)" + m[1])
		if err != nil {
			return "", fmt.Errorf("mask: %w", err)
		}
		output = own.ReplaceAllString(output, "MASKED")
	}
	for _, m := range masks {
		output = m.what.ReplaceAllString(output, m.as)
	}
	return output, nil
}
