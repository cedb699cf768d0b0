package main

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A step is one command of a console block and what it is said to print.
type step struct {
	command    string
	background bool   // it ended with &
	output     string // whole lines
}

var (
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

// parseSteps reads a console block: a command is what follows "$ ", and goes
// on after a line that ends with a backslash.
func parseSteps(block string) ([]step, error) {
	var steps []step
	goesOn := false
	for line := range strings.Lines(block) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch last := len(steps) - 1; {
		case goesOn:
			steps[last].command += "\n" + strings.TrimSuffix(line, "\n")
		case isCommand:
			steps = append(steps, step{command: strings.TrimSuffix(command, "\n")})
		case last < 0:
			return nil, fmt.Errorf("a console block begins with a command: `$ …`")
		default:
			steps[last].output += line
			continue
		}
		last := &steps[len(steps)-1]
		goesOn = strings.HasSuffix(last.command, `\`)
		last.background = strings.HasSuffix(last.command, " &")
	}
	return steps, nil
}

// replay runs the steps and returns what each printed. Ports like :8080
// are replaced by free ones, and put back in the output.
func (r repo) replay(steps []step) ([]string, error) {
	ports, err := freePorts(steps)
	if err != nil {
		return nil, err
	}
	sh := &shell{repo: r}
	defer sh.close()
	var outputs []string
	for _, step := range steps {
		run := sh.run
		if step.background {
			run = sh.start
		}
		output, err := run(strings.TrimSuffix(ports.forth.Replace(step.command), " &"))
		outputs = append(outputs, tidy(ports.back.Replace(output)))
		if err != nil {
			return outputs, fmt.Errorf("`%s`: %w", step.command, err)
		}
	}
	return outputs, nil
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

// A portMap exchanges the ports that a block names for free ones, and back.
type portMap struct{ forth, back *strings.Replacer }

var namedPort = regexp.MustCompile(`:(80\d\d)\b`)

// freePorts maps the ports named in the steps' commands, unless a command in
// the background names none: then it listens on the port that is its default,
// and the others have to find it there.
func freePorts(steps []step) (portMap, error) {
	var forth, back []string
	for _, step := range steps {
		found := namedPort.FindAllStringSubmatch(step.command, -1)
		if step.background && found == nil {
			return portMap{strings.NewReplacer(), strings.NewReplacer()}, nil
		}
		for _, m := range found {
			if slices.Contains(forth, m[1]) {
				continue
			}
			free, err := freePort()
			if err != nil {
				return portMap{}, err
			}
			forth, back = append(forth, m[1], free), append(back, free, m[1])
		}
	}
	return portMap{strings.NewReplacer(forth...), strings.NewReplacer(back...)}, nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
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
