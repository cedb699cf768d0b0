package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"socketup/notes/backends"
)

// A runner is a gateway that takes part.
type runner struct {
	gateway
	process   *backends.Process
	addr      string
	rates     []float64 // requests per second, one for each turn
	costs     []float64 // CPU time of the gateway for a request, in ns
	connected int       // most connections to the backend
}

func race() error {
	w, err := newWorkshop()
	if err != nil {
		return err
	}
	defer os.RemoveAll(w.dir)
	backend, stop, err := w.startBackend()
	if err != nil {
		return err
	}
	defer stop()
	part := w.whoTakesPart(backend)
	fmt.Printf("\nbackend: %s, %d streams on a connection; %d turns of %v\n", *kind, *streams, *turns, *length)
	for c := range strings.SplitSeq(*cases, ",") {
		var conns, depth int
		if _, err := fmt.Sscanf(c, "%dx%d", &conns, &depth); err != nil {
			return fmt.Errorf("-cases %s: %w", c, err)
		}
		if err := w.raceCase(part, backend, conns, depth); err != nil {
			return err
		}
	}
	return nil
}

// startBackend starts the backend on the load's core, in a process of its own.
func (w *workshop) startBackend() (*server, func(), error) {
	cmd := exec.Command("taskset", "-c", "1", w.itself, "racing", *kind, fmt.Sprint(*streams))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	stop := func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return nil, nil, errors.New("the backend does not start")
	}
	return &server{strings.TrimSpace(addr), cmd.Process.Pid}, stop, nil
}

type server struct {
	addr string
	pid  int
}

// whoTakesPart asks each gateway for one page, and looks at what it says to the backend.
func (w *workshop) whoTakesPart(backend *server) (part []*runner) {
	for _, g := range gateways {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), g.name) {
			continue
		}
		if g.http1 && !backends.Can(*kind, "http1") {
			continue
		}
		r := &runner{gateway: g}
		says, err := w.prove(r, backend.addr)
		if err != nil {
			why, _, _ := strings.Cut(err.Error(), "\n")
			fmt.Printf("%-12s does not take part: %s\n", g.name, why)
			continue
		}
		fmt.Printf("%-12s %s\n", g.name, says)
		part = append(part, r)
	}
	return part
}

func (w *workshop) prove(r *runner, backend string) (string, error) {
	tap, err := backends.NewTap(backend)
	if err != nil {
		return "", err
	}
	defer tap.Close()
	stop, err := w.start(r, tap.Addr)
	if err != nil {
		return "", err
	}
	defer stop()
	response, err := http.Get("http://" + r.addr + "/")
	if err != nil {
		return "", err
	}
	body, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if response.StatusCode != 200 || string(body) != backends.Hello {
		return "", fmt.Errorf("it answers %d: %.100q", response.StatusCode, body)
	}
	if r.http1 {
		return fmt.Sprintf("speaks HTTP/1.1 to the backend: %d connections", tap.Others.Load()), nil
	}
	if tap.Connections.Load() == 0 || tap.Others.Load() > 0 || tap.Streams.Load() == 0 {
		return "", errNotHTTP2
	}
	return fmt.Sprintf("speaks HTTP/2 to the backend: the preface, and HEADERS for %d request", tap.Streams.Load()), nil
}

// start starts a gateway on its core, and returns when it listens.
func (w *workshop) start(r *runner, backend string) (stop func(), err error) {
	dir, err := os.MkdirTemp(w.dir, r.name)
	if err != nil {
		return nil, err
	}
	addr, release, err := backends.Claim()
	if err != nil {
		return nil, err
	}
	command, err := r.command(w, dir, addr, backend)
	if err == nil {
		if _, err = exec.LookPath(command[0]); err == nil {
			r.process, err = backends.Run(dir, addr, append([]string{"env", "GOMAXPROCS=1", "taskset", "-c", "0"}, command...)...)
		}
	}
	if err != nil {
		release()
		return nil, err
	}
	r.addr = addr
	return func() {
		r.process.Stop()
		release()
	}, nil
}

func (w *workshop) raceCase(part []*runner, backend *server, conns, depth int) error {
	for _, r := range part {
		stop, err := w.start(r, backend.addr)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		defer stop()
		r.rates, r.costs, r.connected = nil, nil, 0
		if _, _, err := w.load(r, conns, depth, 300*time.Millisecond, backend); err != nil { // to warm up
			fmt.Printf("%s, %dx%d: %v\n", r.name, conns, depth, err)
		}
	}
	var backendTime, wall time.Duration
	w.loadTime = 0
	for range *turns {
		for _, r := range part {
			before, began := cpuTime(tree(backend.pid)), time.Now()
			rate, cost, err := w.load(r, conns, depth, *length, backend)
			if err != nil {
				fmt.Printf("%s, %dx%d: %v\n", r.name, conns, depth, err)
				continue
			}
			backendTime += cpuTime(tree(backend.pid)) - before
			wall += time.Since(began)
			r.rates, r.costs = append(r.rates, rate), append(r.costs, cost)
		}
	}
	fmt.Printf("\n%d connections, %d requests at a time on each; ratios to the first row:\n", conns, depth)
	fmt.Printf("  %-12s %10s %6s %14s %6s %10s %12s\n", "", "requests/s", "", "CPU/request", "", "its core", "connections")
	var base *runner
	for _, r := range part {
		if len(r.rates) == 0 {
			continue
		}
		if base == nil {
			base = r
		}
		rate, cost := median(r.rates), median(r.costs)
		fmt.Printf("  %-12s %10.0f %6.2f %11.0f ns %6.2f %9.0f%% %12d\n",
			r.name, rate, rate/median(base.rates), cost, median(base.costs)/cost, min(rate*cost/1e7, 100), r.connected)
	}
	fmt.Printf("  the other core: %.0f%% the backend, %.0f%% the load\n", 100*float64(backendTime)/float64(wall), 100*float64(w.loadTime)/float64(wall))
	return nil
}

// load runs the load generator once.
func (w *workshop) load(r *runner, conns, depth int, length time.Duration, backend *server) (rate, cost float64, err error) {
	pids := tree(r.process.Process.Pid)
	var list []string
	for _, pid := range pids {
		list = append(list, fmt.Sprint(pid))
	}
	cmd := exec.Command("taskset", "-c", "1", w.bench, "load", "-addr", r.addr, "-conns", fmt.Sprint(conns), "-depth", fmt.Sprint(depth),
		"-for", length.String(), "-pid", strings.Join(list, ","))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	var said, failed strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &failed
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-time.After(length * 3 / 4):
		r.connected = max(r.connected, connectionsTo(backend.addr, pids))
		select {
		case err = <-ended:
		case <-time.After(30 * time.Second):
			cmd.Process.Kill()
			<-ended
			return 0, 0, errors.New("it stopped answering")
		}
	}
	w.loadTime += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if err != nil {
		return 0, 0, fmt.Errorf("%s", strings.TrimSpace(failed.String()))
	}
	_, err = fmt.Sscan(said.String(), &rate, &cost)
	return rate, cost, err
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// tree are a process and all its descendants.
func tree(pid int) []int {
	all := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, child := range strings.Fields(string(text)) {
			var n int
			fmt.Sscan(child, &n)
			all = append(all, tree(n)...)
		}
	}
	return all
}

// cpuTime is what all threads of some processes have run for.
func cpuTime(pids []int) (total time.Duration) {
	for _, pid := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, file := range files {
			var ran int64
			text, _ := os.ReadFile(file)
			fmt.Sscan(string(text), &ran)
			total += time.Duration(ran)
		}
	}
	return total
}

// connectionsTo counts the established connections of some processes to a port of this machine.
func connectionsTo(addr string, pids []int) (n int) {
	own := map[string]bool{}
	for _, pid := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, file := range files {
			to, _ := os.Readlink(file)
			if inode, found := strings.CutPrefix(to, "socket:["); found {
				own[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	var port int
	fmt.Sscan(addr[strings.LastIndex(addr, ":")+1:], &port)
	text, _ := os.ReadFile("/proc/net/tcp")
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line) // number, local, remote, state, …, inode (10th)
		if len(f) > 9 && f[3] == "01" && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", port)) && own[f[9]] {
			n++
		}
	}
	return n
}
