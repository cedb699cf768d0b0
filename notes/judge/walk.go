package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"socketup/notes/steps"
)

// A walk judges one program by the steps of one part.
type walk struct {
	root     string // of the repository
	part     string // 1
	client   bool   // command is a client, which each test starts for itself
	streams  bool   // command is a gateway to a backend that speaks HTTP/2
	command  string
	only     string // the numbers of the steps to judge, as 1.3 or 1.3,1.4; "" for all
	all      bool   // also the steps after one that failed
	patience time.Duration
	out      io.Writer

	steps   []steps.Step
	binary  string   // the part's tests, compiled; "" until prepare has done it
	scratch string   // the directory of binary, if prepare made one; the caller removes it
	pkgDir  string   // where they run
	backend *backend // of a gateway; the caller releases it
	server  *server
}

// errFailed says that a step failed, and that the reason is printed.
var errFailed = errors.New("a step failed")

const (
	defaultPatience = 3 * time.Second  // of a test, for one response
	testTimeout     = 30 * time.Second // of one test in all
)

// prepare reads the steps and compiles the tests.
func (w *walk) prepare(ctx context.Context) (err error) {
	file := w.part
	if w.client {
		file += steps.OfClients
	} else if w.streams {
		file += steps.OfStreams
	}
	if w.steps, err = steps.Load(w.root, file); w.client && os.IsNotExist(err) {
		return fmt.Errorf("part %s has no steps for clients; parts 2 and 4 have", w.part)
	} else if w.streams && os.IsNotExist(err) {
		return fmt.Errorf("part %s has no steps with STREAMS; part 4 has", w.part)
	} else if err != nil {
		return err
	}
	if w.only != "" && len(w.chosen()) <= strings.Count(w.only, ",") {
		return fmt.Errorf("part %s has no step %s; it has %s to %s", w.part, w.only, w.steps[0].Number, w.steps[len(w.steps)-1].Number)
	}
	dirs, _ := filepath.Glob(filepath.Join(w.root, "part"+w.part+"-*"))
	if w.client {
		dirs = []string{filepath.Join(w.root, "notes", "clients")}
	}
	if len(dirs) != 1 {
		return fmt.Errorf("there is no part %s", w.part)
	}
	w.pkgDir = dirs[0]
	if w.part == "4" && !w.client {
		if w.backend, err = reserveBackend(); err != nil {
			return err
		}
		w.backend.streams = w.streams
	}
	if w.binary != "" {
		return nil
	}
	dir, err := os.MkdirTemp("", "judge")
	if err != nil {
		return err
	}
	w.scratch, w.binary = dir, filepath.Join(dir, "part"+w.part+".test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", w.binary, ".")
	build.Dir = w.pkgDir
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("the tests of part %s do not compile: %w\n%s", w.part, err, text)
	}
	return nil
}

// chosen returns the steps to judge, in order.
func (w *walk) chosen() (all []steps.Step) {
	only := strings.Split(w.only, ",")
	for _, s := range w.steps {
		if w.only == "" || slices.Contains(only, s.Number) {
			all = append(all, s)
		}
	}
	return all
}

// run walks the steps and prints a line for each. It returns errFailed unless
// all that it judged passed; no process that it started is left.
func (w *walk) run(ctx context.Context) error {
	defer w.stopServer()
	var passed, judged int
	var next *steps.Step // the first that failed
	over := false
	for _, step := range w.chosen() {
		if over || !step.Judged() {
			fmt.Fprintf(w.out, "  --    %s %s%s\n", step.Number, step.Title, notJudged(step))
			continue
		}
		began := time.Now()
		failures, err := w.judge(ctx, step)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !errors.As(err, new(trouble)) {
			return err
		}
		mark := "ok  "
		judged++
		if err != nil || len(failures) > 0 {
			mark = "FAIL"
		} else {
			passed++
		}
		fmt.Fprintf(w.out, "  %s  %s %s (%.1f s)\n", mark, step.Number, step.Title, time.Since(began).Seconds())
		if mark == "FAIL" {
			if next == nil {
				next = &step
			}
			over = !w.all || !w.client && (w.server == nil || w.server.slow == 0) // it will not start a second time either
			w.explain(step, failures, err)
		}
	}
	if next == nil && judged == 0 {
		fmt.Fprintf(w.out, "Step %s is not judged.\n", w.only)
		return nil
	}
	if next == nil {
		fmt.Fprintf(w.out, "Passed: all %d.\n", judged)
		w.remark()
		return nil
	}
	fmt.Fprintf(w.out, "Passed: %d. Next: %s %s, about %s minutes.\n", passed, next.Number, next.Title, next.Minutes)
	return errFailed
}

// notJudged is what a line says of a step that has no tests.
func notJudged(step steps.Step) string {
	if step.Judged() {
		return ""
	}
	return " (not judged)"
}

// judge runs the tests of step against the server, which it starts if none runs.
// It returns what the failed tests say, and a trouble of the server's own.
func (w *walk) judge(ctx context.Context, step steps.Step) (failures []failure, err error) {
	if w.server == nil && !w.client {
		w.server, err = startServer(ctx, w.command, w.root, w.patience, w.backend.environment())
		if err != nil {
			return nil, err
		}
	}
	for _, tests := range steps.Together(step.Tests) {
		failed, err := w.test(ctx, tests)
		failures = append(failures, failed...)
		if err != nil {
			return failures, err
		}
		if err := w.hasDied(len(failed) > 0); err != nil {
			return failures, err
		}
		if len(failures) > 0 && !w.all {
			return failures, nil
		}
	}
	return failures, w.hasDied(false)
}

// hasDied is hasDied of the server, if one is judged.
func (w *walk) hasDied(failed bool) error {
	if w.client {
		return nil
	}
	return w.server.hasDied(failed)
}

// environment is what a test finds the program that is judged in.
func (w *walk) environment() []string {
	all := append(os.Environ(), "PATIENCE="+w.patience.String(), "GORACE=atexit_sleep_ms=0")
	if w.client {
		return append(all, "CLIENT="+w.command)
	}
	all = append(all, "SERVER="+w.command, "JUDGED="+w.server.addr)
	return append(all, w.backend.environment()...)
}

// test runs cases of one test, or all, against the server. When the server ends, the
// test has a second to say what it saw.
func (w *walk) test(ctx context.Context, cases []steps.Test) ([]failure, error) {
	test := cases[0]
	run, skip := steps.Pattern(cases, w.steps)
	args := []string{"-test.run=" + run, "-test.skip=" + skip, "-test.parallel=1", "-test.v"}
	cmd := exec.Command(w.binary, args...)
	cmd.Dir = w.pkgDir
	cmd.Env = w.environment()
	g, err := start(cmd)
	if err != nil {
		return nil, err
	}
	limit, died := time.After(testTimeout), w.running()
wait:
	for {
		select {
		case <-g.exited:
			break wait
		case <-ctx.Done():
			break wait
		case <-died:
			limit, died = time.After(time.Second), nil
		case <-limit:
			break wait
		}
	}
	hung := !g.hasExited()
	if g.end(0); ctx.Err() != nil {
		return nil, ctx.Err()
	}
	text := g.printed.all()
	failures := failuresIn(text)
	place := func(f failure) int {
		return slices.IndexFunc(cases, func(c steps.Test) bool { return c.String() == f.test })
	}
	slices.SortFunc(failures, func(a, b failure) int { // a table has no order
		return cmp.Or(cmp.Compare(place(a), place(b)), strings.Compare(a.test, b.test))
	})
	switch {
	case len(failures) == 0 && hung && (died != nil || w.client):
		return nil, trouble(fmt.Sprintf("%s did not end within %v: your program hangs.", test, testTimeout))
	case len(failures) == 0 && !hung && !cmd.ProcessState.Success():
		failures = []failure{{test.String(), strings.TrimSpace(text)}}
	case len(failures) == 0 && !hung && !strings.Contains(text, "--- "):
		return nil, fmt.Errorf("%s runs no test of part %s", test, w.part)
	}
	return failures, nil
}

// running returns a channel that is closed when the server ends; nil without one.
func (w *walk) running() <-chan struct{} {
	if w.client {
		return nil
	}
	return w.server.exited
}

// stopServer ends the server, and says so if it had to be killed.
func (w *walk) stopServer() {
	if w.server == nil {
		return
	}
	wasRunning := !w.server.hasExited()
	if obeyed := w.server.end(stopGrace); wasRunning && !obeyed {
		fmt.Fprintf(w.out, "    Your server did not end within %v after SIGTERM, so the judge killed it.\n", stopGrace)
	}
	w.server = nil
}

// remark says what is no failure, and good to know.
func (w *walk) remark() {
	if w.server != nil && w.server.slow > time.Second {
		fmt.Fprintf(w.out, "Your server took %.1f s until it listened.\n", w.server.slow.Seconds())
	}
}
