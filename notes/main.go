// Program notes keeps the chapters true: it proves the planted bugs and the
// exercises' solutions, computes what the chapters quote from the parts, runs
// their commands again and draws their figures.
//
// Run it from anywhere in the repository:
//
//	go -C notes run . check -only code,links
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

const usage = `usage: go -C notes run . VERB [flags] [NAME…]

  growth [PART…]                        what each part adds to the one before it
  bugs [-part PART] [-v] [NAME…]        every planted bug is caught by the test it names
  solutions [-part PART] [-v] [NAME…]   every exercise fails unsolved and passes solved
  bug [NAME]                            the symptoms of all bugs; plants one, and runs the test that catches it
  hint [-level 1|2|3] NAME              where a bug is: file, function, line
  mend NAME                             takes a planted bug out again, and shows it
  story -part PART                      runs a part's tests, and prints each name as a sentence
  check [-only LIST] [-strict] [FILE…]  say where the chapters are not true; write nothing
  refresh [-only LIST] [FILE…]          write into the chapters what can be computed

LIST is some of code,growth,steps,console,coverage,names,english,links,figures; FILE is a chapter.

example: go -C notes run . check -only code,links
`

// A request is what the command line asks of a verb; no verb looks at all of it.
type request struct {
	names           []string // of parts, patches or chapters
	only, part      string
	strict, verbose bool
	level           int // of a hint
}

// A verb does one of the jobs above.
type verb func(r repo, q request, out io.Writer) error

var verbs = map[string]verb{
	"growth":    growthVerb,
	"bugs":      bugsVerb,
	"solutions": solutionsVerb,
	"bug":       bugVerb,
	"hint":      hintVerb,
	"mend":      mendVerb,
	"story":     storyVerb,
	"check":     checkVerb,
	"refresh":   refreshVerb,
}

// errFailed says that something is not true, and that the reasons are printed.
var errFailed = errors.New("failed")

// A usageError is the caller's mistake: exit status 2.
type usageError string

func (e usageError) Error() string { return string(e) }

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program: 0 when all is true, 1 when something is not, 2 when it
// was asked for something that does not exist.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 1 && slices.Contains([]string{"-h", "-help", "--help"}, args[0]) {
		fmt.Fprint(stdout, usage)
		return 0
	} else if len(args) == 0 || verbs[args[0]] == nil {
		fmt.Fprint(stderr, usage)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := findRepo(ctx, ".")
	if err == nil {
		err = verbs[args[0]].run(r, args[1:], stdout)
	}
	var misuse usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return 0
	case errors.Is(err, errFailed):
		return 1
	case errors.As(err, &misuse):
		fmt.Fprintf(stderr, "notes: %v\n\n%s", err, usage)
		return 2
	}
	fmt.Fprintf(stderr, "notes: %v\n", err)
	return 1
}

// run calls v with what args ask of it.
func (v verb) run(r repo, args []string, out io.Writer) error {
	var q request
	flags := flag.NewFlagSet("notes", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&q.only, "only", "figures,code,growth,steps,coverage,names,english,links,console", "")
	flags.StringVar(&q.part, "part", "", "")
	flags.BoolVar(&q.strict, "strict", false, "")
	flags.BoolVar(&q.verbose, "v", false, "")
	flags.IntVar(&q.level, "level", 1, "")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return usageError(err.Error())
	}
	q.names = flags.Args()
	return v(r, q, out)
}
