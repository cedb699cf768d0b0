// The shares program measures what one client can take from the others. It starts
// part 3 as a backend and part 4 in front of it, lets one attack run at a time, and
// meanwhile measures an honest client: one request every 20 ms on a kept connection,
// and one every 50 ms on a connection of its own. It knows the programs by their
// command lines only.
//
//	go -C notes run ./bench/shares                      every attack in every mode: 6 minutes
//	go -C notes run ./bench/shares -only sleep          the attacks whose names have "sleep" in them
//	go -C notes run ./bench/shares -list                what the attacks are
//	go -C notes run ./bench/shares -bin DIR             programs that are built already
//	go -C notes run ./bench/shares -check               exit 1 if an attack takes more than it may
//
// In each mode the attack goes to another program:
//
//	server   part 3
//	pool     part 4 with -backend, part 3 behind it
//	engine   part 4 with -engine, part 3 behind it
//	nginx    nginx as a proxy, part 3 behind it: its CPU time is what the others are compared with
//
// An attack is a line in attacks.go. It runs in a process of its own, with little
// priority, so that its work is not taken for the server's.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

var (
	only   = flag.String("only", "", "attacks whose `names` contain one of these, with commas between them")
	modes  = flag.String("modes", "server,pool,engine,nginx", "`modes` to run them in")
	bin    = flag.String("bin", "", "`directory` with part3-pipelining and part4-pooling; they are built if there is none")
	repo   = flag.String("repo", "..", "`directory` that they are built from")
	list   = flag.Bool("list", false, "print what the attacks are")
	check  = flag.Bool("check", false, "exit 1 if an attack takes more than it may")
	extra  = flag.String("flags", "", "further `flags` of part 4, with spaces between them")
	quiets = flag.Duration("quiet", 700*time.Millisecond, "how long the honest client is measured before the attack")
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "attack" { // what strike starts
		attackFrom(os.Args[2])
		return
	}
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if *list {
		for _, a := range chosen {
			fmt.Printf("%-22s %s\n", a.name, a.says)
		}
		return nil
	}
	field, err := prepare()
	if err != nil {
		return err
	}
	defer field.close()
	began, bad := time.Now(), 0
	printHeading()
	for _, a := range chosen {
		for _, r := range runAll(field, a) {
			bad += r.print()
		}
	}
	fmt.Printf("\n%d attacks in %v; %d of the figures are more than they may be (marked !)\n", len(chosen), time.Since(began).Round(time.Second), bad)
	if *check && bad > 0 {
		return errors.New("an attack takes more than it may")
	}
	return nil
}

// choose returns the attacks that are called by one of the parts, or if none is so
// called, those whose names contain it.
func choose(parts string) (chosen []attack, err error) {
	wanted := map[string]bool{}
	for part := range strings.SplitSeq(parts, ",") {
		exact := slices.ContainsFunc(attacks, func(a attack) bool { return a.name == part })
		for _, a := range attacks {
			wanted[a.name] = wanted[a.name] || a.name == part || !exact && strings.Contains(a.name, part)
		}
	}
	for _, a := range attacks {
		if wanted[a.name] {
			chosen = append(chosen, a)
		}
	}
	if len(chosen) == 0 {
		err = fmt.Errorf("no attack is called %q", parts)
	}
	return chosen, err
}

// runAll runs an attack in all its modes: at once if it is light, and else one
// after the other. nginx comes first, for the others are compared with it.
func runAll(f *field, a attack) (all []*result) {
	var group sync.WaitGroup
	var nginx float64
	for _, m := range []string{"nginx", "server", "pool", "engine"} {
		if !strings.Contains(a.modes, m) || !strings.Contains(*modes, m) {
			continue
		}
		r := &result{attack: a, mode: m}
		all = append(all, r)
		if a.kind.light() {
			group.Go(func() { r.measure(f) })
			continue
		}
		r.measure(f)
		if m == "nginx" {
			nginx = r.perByte()
		}
		r.nginx = nginx
	}
	group.Wait()
	return all
}
