package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A command line is the same in every part: `program [VERB] [flags] [operands]`. The
// verbs, with the program's name and its example, are in main.go.

// A verb is one thing that the program does.
type verb struct {
	name     string
	operands string // what follows the flags, as the help shows it; "" if nothing may
	does     string // one sentence, for the help
	// declare defines the verb's flags, and returns the action to run once they are parsed.
	declare func(flags *flag.FlagSet, stdout, stderr io.Writer) (action func() error)
}

// Exit statuses other than 0.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitInterrupted = 130 // 128 + SIGINT, as a shell reports it
)

var (
	errUsage       = errors.New("not understood") // wrapped by the error of an action whose flags or operands do not fit together
	errInterrupted = errors.New("interrupted")    // wrapped by the error of an action that a signal has ended early
)

// run executes one command line and returns the exit status. What was asked for, help
// included, goes to stdout; errors and the log go to stderr.
func run(args []string, stdout, stderr io.Writer) int {
	name := verbs[0].name
	switch {
	case len(args) > 0 && args[0] != "" && args[0][0] != '-':
		name, args = args[0], args[1:]
	case len(args) > 0 && slices.Contains([]string{"-h", "-help", "--help"}, args[0]):
		name, args = "help", nil
	}
	if name == "help" && len(args) > 0 {
		name, args = args[0], []string{"-h"}
	} else if name == "help" {
		printOverview(stdout)
		return 0
	}
	i := slices.IndexFunc(verbs, func(v verb) bool { return v.name == name })
	if i < 0 {
		fmt.Fprintf(stderr, "unknown verb %q\n", name)
		printOverview(stderr)
		return exitUsage
	}
	return verbs[i].run(args, stdout, stderr)
}

func (v verb) run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(v.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // printHelp and printError print, to stdout or stderr as the case requires
	action := v.declare(flags, stdout, stderr)
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		v.printHelp(stdout, flags)
		return 0
	} else if err != nil {
		printError(stderr, err)
		v.printHelp(stderr, flags)
		return exitUsage
	}
	err := error(nil)
	if v.operands == "" && flags.NArg() > 0 {
		err = fmt.Errorf("%s %w: unexpected argument %q", v.name, errUsage, flags.Arg(0))
	} else {
		err = action()
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		printError(stderr, err)
		fmt.Fprintf(stderr, "usage: %s\n%s %s -h lists the flags\n", v.synopsis(), program, v.name)
		return exitUsage
	}
	printError(stderr, err)
	if errors.Is(err, errInterrupted) {
		return exitInterrupted
	}
	return exitFailure
}

// printError prints err, on a terminal in lines that it has room for.
func printError(w io.Writer, err error) {
	text := err.Error()
	if isTerminal(w) {
		text = "\r\x1b[K" + wrap(text, "") // in place of the ^C that the terminal has echoed
	}
	fmt.Fprintln(w, text)
}

func (v verb) synopsis() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s [flags] %s", program, v.name, v.operands))
}

// printOverview prints what each verb does.
func printOverview(w io.Writer) {
	fmt.Fprintf(w, "usage: %s [VERB] [flags]\n\n", program)
	for _, v := range verbs {
		fmt.Fprintln(w, wrap(fmt.Sprintf("  %-7s %s", v.name, v.does), "          "))
	}
	fmt.Fprintf(w, "\nWithout a VERB it is %s. %s VERB -h lists the flags of one.\nexample: %s\n", verbs[0].name, program, example)
}

// printHelp prints what v does, and its flags.
func (v verb) printHelp(w io.Writer, flags *flag.FlagSet) {
	fmt.Fprintf(w, "usage: %s\n\n%s\n\n", v.synopsis(), wrap(v.does, ""))
	flags.VisitAll(func(f *flag.Flag) {
		placeholder, text := describeFlag(f)
		fmt.Fprintf(w, "%s\n%s\n", strings.TrimRight("  -"+f.Name+" "+placeholder, " "), wrap("        "+text, "        "))
	})
	fmt.Fprintf(w, "\nexample: %s\n", example)
}

// describeFlag returns the placeholder of f's value, in upper case, and its help with
// the default, if that is not the zero value.
func describeFlag(f *flag.Flag) (placeholder, text string) {
	placeholder, text = flag.UnquoteUsage(f)
	switch {
	case placeholder == "value" && strings.HasSuffix(f.DefValue, "s"): // a flag.Var of a time.Duration
		placeholder = "DURATION"
	case placeholder == "value" || placeholder == "int" || placeholder == "float":
		placeholder = "N"
	}
	if !slices.Contains([]string{"", "0", "0s", "false"}, f.DefValue) {
		text += " (default " + f.DefValue + ")"
	}
	return strings.ToUpper(placeholder), text
}
