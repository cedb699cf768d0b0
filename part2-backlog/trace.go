package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

func traceVerb(flags *flag.FlagSet, stdout io.Writer) func(context.Context) error {
	length := countFlag(flags, "backlog", 0, 0, maxBacklog, "how many connections may wait to be accepted")
	clients := countFlag(flags, "n", 3, 1, 20, "how many clients there are, one every 50ms")
	delay := durationFlag(flags, "delay", 500*time.Millisecond, 0, "how long the server takes for each request, 10s at most")
	connectTimeout := durationFlag(flags, "connect-timeout", 0, 0, "how long the handshake may take; 0 leaves it to the kernel")
	file := flags.String("pcap", "", "write the packets to this `file`, for Wireshark or tshark -r")
	asJSON := flags.Bool("json", false, "print the events as JSON lines")
	return func(ctx context.Context) error {
		if *delay > 10*time.Second {
			return fmt.Errorf("trace %w: a -delay of %v would take too long", errUsage, *delay)
		}
		x := experiment{backlog: *length, serviceTime: *delay, clients: *clients, interval: 50 * time.Millisecond, connectTimeout: *connectTimeout}
		return inNewNetns(ctx, flags, stdout, func(bool) error { return x.trace(ctx, stdout, *file, *asJSON) })
	}
}

// trace runs x during a capture, and draws the packets that the two kernels exchanged.
func (x experiment) trace(ctx context.Context, stdout io.Writer, file string, asJSON bool) (err error) {
	capture, err := startCapture()
	if err != nil {
		return err
	}
	var pcap *os.File
	if file != "" { // after startCapture: if that fails, an existing file keeps its contents
		if pcap, err = os.Create(file); err != nil {
			capture.finish()
			return err
		}
		defer pcap.Close()
	}
	if !asJSON {
		fmt.Fprintf(stdout, "%s\n\n", wrap(fmt.Sprintf("%s, one every %v; backlog %d, %v of work for each; connect timeout %v",
			plural(x.clients, "client"), x.interval, x.backlog, x.serviceTime, durationOrNone(x.connectTimeout)), "  "))
	}
	stop := progress(stdout)
	r, err := x.run(ctx)
	stop()
	packets, captureErr := capture.finish()
	if err := errors.Join(err, captureErr); err != nil {
		return err
	}
	r.addPackets(packets)
	if asJSON {
		r.print(stdout, true)
	} else {
		r.draw(stdout)
		fmt.Fprintf(stdout, "\n%d of %d answered; ListenDrops +%d\n", r.answered(), x.clients, r.counterDelta.Drops)
	}
	if pcap == nil {
		return nil
	}
	if err := errors.Join(writePcap(pcap, packets), pcap.Close()); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if !asJSON {
		fmt.Fprintln(stdout, wrap(fmt.Sprintf("%d packets are in %s: wireshark %[2]s, or tshark -r %[2]s", len(packets), file), "  "))
	}
	return nil
}

// addPackets records the packets to and from the listener on the timeline, and removes
// the events that clients and server recorded. Only a client that gives up keeps its
// event, because no packet shows that.
func (r result) addPackets(packets []packet) {
	r.events = slices.DeleteFunc(r.events, func(e event) bool {
		return e.Who != "kernel" && !strings.HasPrefix(e.What, "gives up")
	})
	names := map[uint16]string{} // of the clients, by their ports, in the order of their first SYNs
	last := map[uint16]int{}     // by client port: index of the event of a SYN that has no reply yet
	port := r.listener.Port()
	for _, p := range packets {
		s, ok := parseSegment(p.data)
		if !ok || s.from != port && s.to != port {
			continue
		}
		if s.to != port {
			delete(last, s.to)
			r.record(p.at, "server", s.String(), names[s.to])
			continue
		}
		what := s.String()
		if names[s.from] == "" {
			names[s.from] = fmt.Sprintf("client %d", len(names)+1)
		} else if s.flags&syn != 0 {
			what += " again"
		}
		if _, waiting := last[s.from]; waiting && s.flags&syn != 0 {
			r.events[last[s.from]].What += noReplyText
		}
		r.record(p.at, names[s.from], what, "server")
		if s.flags&syn != 0 {
			last[s.from] = len(r.events) - 1
		}
	}
	for _, i := range last {
		r.events[i].What += noReplyText
	}
}

const noReplyText = ", and nothing comes back"

// draw prints the timeline with an arrow for each packet.
func (r result) draw(w io.Writer) {
	slices.SortStableFunc(r.events, func(a, b event) int { return int(a.US*1e3) - int(b.US*1e3) })
	for _, e := range r.events {
		who, what := colored(w, e.Who), e.What
		switch {
		case e.To == "":
		case e.Who == "server":
			who = colored(w, e.To) + " <--  " + who
		case strings.HasSuffix(what, noReplyText):
			who += paint(w, red, " --x  ") + colored(w, e.To)
		default:
			who += " -->  " + colored(w, e.To)
		}
		begin := 25 // columns
		if e.To != "" {
			begin += len(" -->  ") + 8
		}
		indent := strings.Repeat(" ", begin)
		fmt.Fprintf(w, "%10.3f ms  %s  %s\n", (e.US-r.events[0].US)/1e3, who, highlight(w, wrap(indent+what, indent)[begin:]))
	}
}
