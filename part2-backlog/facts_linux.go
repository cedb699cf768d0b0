package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A fact is one thing that this machine's kernel does: first predicted, then measured.
type fact struct {
	What      string `json:"what"`
	Predicted string `json:"predicted"`
	Measured  string `json:"measured"`
	Holds     bool   `json:"as_predicted"`
}

func exactFact(what string, predicted, measured any) fact {
	p, m := fmt.Sprint(predicted), fmt.Sprint(measured)
	return fact{what, p, m, p == m}
}

func factsVerb(flags *flag.FlagSet, stdout io.Writer) func(context.Context) error {
	full := flags.Bool("full", false, "wait for seven retransmissions, about 12 s, instead of one")
	asJSON := flags.Bool("json", false, "print a line of JSON for each fact")
	return func(ctx context.Context) error {
		retransmissions := 1
		if *full {
			retransmissions = 7
		}
		k, err := readKernel()
		if err != nil {
			return err
		}
		return facts(ctx, stdout, k, retransmissions, *asJSON)
	}
}

// facts predicts from k, the kernel's sysctls, what the kernel will do, measures what it
// does, and prints both. It returns an error if any fact differs.
func facts(ctx context.Context, stdout io.Writer, k kernel, retransmissions int, asJSON bool) error {
	aside := stdout // for what is not a result
	if asJSON {
		aside = io.Discard
	}
	if !asJSON {
		fmt.Fprintf(stdout, "%s\n\n%-44s %-10s %-10s\n", wrap(k.String(), "  "), "this machine's kernel", "predicted", "measured")
	}
	differ := 0
	tell := func(f fact) {
		verdict := paint(stdout, green, "as predicted")
		if !f.Holds {
			differ++
			verdict = highlight(stdout, "DIFFERS")
		}
		if asJSON {
			f.What = strings.TrimSpace(f.What)
			line, _ := json.Marshal(f)
			fmt.Fprintf(stdout, "%s\n", line)
		} else {
			fmt.Fprintf(stdout, "%-44s %-10s %-10s %s\n", f.What, f.Predicted, f.Measured, verdict)
		}
	}
	for _, try := range []func(context.Context, kernel, func(fact)) error{
		factsAboutQueueLength, factsAboutSomaxconn, factsAboutIgnoredSYNs, factsAboutClose,
		func(ctx context.Context, k kernel, tell func(fact)) error {
			return factsAboutSYNSchedule(ctx, k, aside, retransmissions, tell)
		},
	} {
		if err := try(ctx, k, tell); err != nil {
			return err
		}
	}
	if differ > 0 {
		return fmt.Errorf("%s not as predicted: this kernel is not like the one in notes/02-backlog.md, or something interferes with the loopback", plural(differ, "fact"))
	}
	return nil
}

// A kernel is the release and the sysctls from which the predictions follow.
type kernel struct {
	release                    string
	somaxconn, retries, linear int
	linearKnown                bool // the sysctl exists, since Linux 6.5
}

func readKernel() (k kernel, err error) {
	var name unix.Utsname
	unix.Uname(&name)
	k.release = unix.ByteSliceToString(name.Release[:])
	var errs [2]error
	k.somaxconn, errs[0] = sysctl("net/core/somaxconn")
	k.retries, errs[1] = sysctl("net/ipv4/tcp_syn_retries")
	k.linear, err = sysctl("net/ipv4/tcp_syn_linear_timeouts")
	k.linearKnown = err == nil
	return k, errors.Join(errs[:]...)
}

func (k kernel) String() string {
	linear := "not known to this kernel"
	if k.linearKnown {
		linear = fmt.Sprint(k.linear)
	}
	return fmt.Sprintf("Linux %s: somaxconn %d, tcp_syn_retries %d, tcp_syn_linear_timeouts %s", k.release, k.somaxconn, k.retries, linear)
}

func factsAboutQueueLength(_ context.Context, k kernel, tell func(fact)) error {
	for _, family := range []string{"127.0.0.1:0", "[::1]:0"} {
		for _, backlog := range []int{0, 1, 2, 5} {
			r, err := listenUnaccepted(family, backlog)
			if err != nil {
				break // no IPv6 here
			}
			in, err := r.fillQueue(100)
			r.close()
			if err != nil {
				return err
			}
			name := "IPv4"
			if strings.HasPrefix(family, "[") {
				name = "IPv6"
			}
			tell(exactFact(fmt.Sprintf("%s, backlog %d: connections the queue takes", name, backlog), min(backlog, k.somaxconn)+1, in))
		}
	}
	return nil
}

func factsAboutSomaxconn(_ context.Context, k kernel, tell func(fact)) error {
	r, err := listenUnaccepted("127.0.0.1:0", maxBacklog)
	if err != nil {
		return err
	}
	defer r.close()
	q, err := readAcceptQueue(r.fd)
	if err != nil {
		return err
	}
	tell(exactFact(fmt.Sprintf("backlog %d: the limit is somaxconn", maxBacklog), k.somaxconn, q.Limit))
	unix.Listen(r.fd, 7)
	q, _ = readAcceptQueue(r.fd)
	tell(exactFact("a second listen, with 7: the limit is now", min(7, k.somaxconn), q.Limit))
	r.fillQueue(3)
	q, _ = readAcceptQueue(r.fd)
	tell(exactFact("three clients come: connections waiting", 3, q.Waiting))
	tell(exactFact("  descriptors of the server's ends of them", 0, countDescriptors(localAddr(r.fd))-1)) // one is the listener's
	return nil
}

// countDescriptors counts this process's descriptors of sockets whose own address
// is addr: the listener, and the server's ends of its connections.
func countDescriptors(addr netip.AddrPort) (open int) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, entry := range entries {
		fd, _ := strconv.Atoi(entry.Name())
		if sa, err := unix.Getsockname(fd); err == nil && addrPort(sa) == addr {
			open++
		}
	}
	return open
}

// factsAboutIgnoredSYNs tries up to three times: the counters are the whole machine's,
// and include the overflows of other programs.
func factsAboutIgnoredSYNs(_ context.Context, _ kernel, tell func(fact)) error {
	r, err := listenUnaccepted("127.0.0.1:0", 0)
	if err != nil {
		return err
	}
	defer r.close()
	if _, err := r.connectOne(); err != nil {
		return err
	}
	var in bool
	var got counters
	for range 3 {
		before, err := readCounters()
		if err != nil {
			return err
		}
		if in, err = r.connectOne(); err != nil {
			return err
		}
		after, _ := readCounters()
		if got = after.sub(before); got == (counters{1, 1}) {
			break
		}
	}
	answer := map[bool]string{true: "yes", false: "no"}
	tell(exactFact("one client too many: is its SYN answered?", "no", answer[in]))
	tell(exactFact("  ListenOverflows and ListenDrops count it", "+1 +1", fmt.Sprintf("%+d %+d", got.Overflows, got.Drops)))
	return nil
}

func factsAboutClose(ctx context.Context, _ kernel, tell func(fact)) error {
	r, err := listenUnaccepted("127.0.0.1:0", 0)
	if err != nil {
		return err
	}
	if _, err := r.connectOne(); err != nil {
		return err
	}
	c := r.clients[0]
	unix.Close(r.fd)
	waitReady(ctx, c, unix.POLLIN, time.Now().Add(time.Second))
	_, err = unix.Read(c, make([]byte, 1))
	unix.Close(c)
	tell(exactFact("the listener closes: a queued client reads", unix.ErrnoName(unix.ECONNRESET), errnoName(err)))

	_, err = connect(ctx, r.addr, time.Second)
	tell(exactFact("  and the next to come is", ErrRefused, firstMatch(err, ErrRefused, ErrConnectTimeout, ErrUnreachable)))
	return nil
}

func errnoName(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return fmt.Sprint(err)
}

func firstMatch(err error, kinds ...error) error {
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return err
}

// factsAboutSYNSchedule measures when the kernel of an ignored client retransmits its
// SYN, n times at most.
func factsAboutSYNSchedule(ctx context.Context, k kernel, aside io.Writer, n int, tell func(fact)) error {
	r, err := listenUnaccepted("127.0.0.1:0", 0)
	if err != nil {
		return err
	}
	defer r.close()
	if _, err := r.fillQueue(2); err != nil {
		return err
	}
	began, ignored := time.Now(), r.clients[len(r.clients)-1]
	stop := progress(aside)
	defer func() { stop() }()
	for i, predicted := range synSchedule(k.retries, k.linear)[:min(n, k.retries+k.linear)] {
		for late := predicted + predicted/5 + time.Second; readSYNState(ignored).retransmits <= i; {
			if time.Since(began) > late {
				break
			}
			if !sleepContext(ctx, time.Millisecond) {
				return ctx.Err()
			}
		}
		took := time.Since(began).Seconds()
		stop()
		tell(fact{fmt.Sprintf("the ignored client sends SYN number %d after", i+2), fmt.Sprintf("%.1f s", predicted.Seconds()), fmt.Sprintf("%.3f s", took),
			math.Abs(took-predicted.Seconds()) < 0.1+predicted.Seconds()/10}) // the kernel's timers are coarse, and coarser for long waits
		stop = progress(aside)
	}
	return nil
}
