package lab

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// The experiment of chapter 2: clients connect faster than part 2's server accepts.
// The clients are in clients.go.

var backlog = experiment{
	Name:  "backlog",
	Title: "Backlog",
	About: "Part 2's server handles one client at a time; the others wait in the kernel's accept queue, which holds one more " +
		"than the backlog. When it is full the kernel ignores a SYN, and that client's kernel sends it again after a second.",
	Settings: []setting{
		{Name: "backlog", Label: "backlog", Low: 0, High: 50, Step: 1, Default: 1},
		{Name: "service", Label: "service time, ms", Low: 0, High: 1000, Step: 10, Default: 300},
		{Name: "every", Label: "a client every, ms", Low: 0, High: 500, Step: 5, Default: 60},
		{Name: "clients", Label: "clients", Low: 1, High: 200, Step: 1, Default: 8},
		{Name: "timeout", Label: "connect timeout, ms (0: none)", Low: 0, High: 5000, Step: 50, Default: 0},
	},
	Predict: setting{Name: "said", Label: "How many clients connect with their first SYN?", High: 200, Step: 1, Default: 4, One: "client connected with its first SYN", Many: "clients connected with their first SYN"},
	Parts: func(v values) []string {
		return []string{
			fmt.Sprintf("go run ./part2-backlog -backlog %d -delay %dms -watch", v["backlog"], v["service"]),
			fmt.Sprintf("go run ./part2-backlog burst -n %d -every %dms -connect-timeout %dms -timeout 30s", v["clients"], v["every"], v["timeout"]),
		}
	},
	play: playBacklog,
}

func playBacklog(ctx context.Context, r *Run, v values) (outcome, error) {
	server, err := r.startServer(ctx, "part2-backlog", "serve", "-addr", "127.0.0.1:0",
		"-backlog", fmt.Sprint(v["backlog"]), "-delay", fmt.Sprintf("%dms", v["service"]))
	if err != nil {
		return outcome{}, err
	}
	defer server.kill()
	r.begin()
	addr, err := netip.ParseAddrPort(server.addr)
	if err != nil {
		return outcome{}, err
	}
	b := burst{run: r, addr: addr, places: v["backlog"] + 1, interval: time.Duration(v["every"]) * time.Millisecond,
		timeout: time.Duration(v["timeout"]) * time.Millisecond}
	defer b.close()
	if err := b.play(ctx, v["clients"]); err != nil && err != errOver {
		return outcome{}, err
	}
	return b.outcome(), nil
}

// outcome counts what became of the clients. Those that wait still when the time is over
// are counted as waiting.
func (b *burst) outcome() (o outcome) {
	var served, failed, ignored int
	var overtaken *caller // by a client that came later
	for i, c := range b.clients {
		switch c.state {
		case answered:
			served++
			ignored += c.syns - 1
		case gaveUp:
			failed++
			ignored += c.syns
		default:
			ignored += max(0, c.syns-1)
		}
		if c.connectedAt != 0 && c.syns == 1 {
			o.was++
		}
		for _, later := range b.clients[i+1:] {
			if overtaken == nil && c.answeredAt != 0 && later.answeredAt != 0 && later.answeredAt < c.answeredAt {
				overtaken = c
			}
		}
	}
	o.text = fmt.Sprintf("%d of %d clients were answered, and %s ignored", served, len(b.clients), plural(ignored, "SYN was", "SYNs were"))
	if failed > 0 {
		o.text += fmt.Sprintf("; %s up", plural(failed, "client gave", "clients gave"))
	}
	if waiting := len(b.clients) - served - failed; waiting > 0 {
		o.text += fmt.Sprintf("; %d still waited when the run was ended after %v", waiting, MaxTime)
	}
	if overtaken != nil {
		o.text += fmt.Sprintf("; client %d, whose SYN was ignored, was answered after clients that came later", overtaken.number)
	}
	o.text += "."
	return o
}

// plural returns "1 SYN was" or "3 SYNs were".
func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
