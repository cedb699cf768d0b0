package main

import (
	"bufio"
	"fmt"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"
)

// A result is what an attack did in one mode.
type result struct {
	attack
	mode  string
	nginx float64 // CPU time for each byte, of nginx under the same attack; 0: not measured

	quiet, attacked     *witness
	before, peak, after int64         // bytes of the program that was attacked
	kernel              int64         // bytes more in TCP buffers, at the peak
	took                time.Duration // of the attack
	cpu, backendCPU     time.Duration // beyond what the honest client costs
	sent                int64         // bytes of the attack
	note                string
	err                 error
}

// perByte is CPU time for a byte of the attack, in nanoseconds.
func (r *result) perByte() float64 {
	if r.kind != works || r.sent == 0 {
		return 0
	}
	return float64(r.cpu.Nanoseconds()) / float64(r.sent)
}

// measure starts the programs and the attack.
func (r *result) measure(f *field) {
	r.err = r.strike(f)
}

func (r *result) strike(f *field) error {
	enemy := exec.Command(f.itself, "attack", r.name)
	dieTogether(enemy)
	in, err := enemy.StdinPipe()
	if err != nil {
		return err
	}
	out, err := enemy.StdoutPipe()
	if err != nil {
		return err
	}
	if err := enemy.Start(); err != nil {
		return err
	}
	defer func() { enemy.Process.Kill(); enemy.Wait() }()
	said := bufio.NewReader(out)
	evil, err := said.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the attacker: %w", err)
	}
	backend, target, err := r.start(f, strings.Fields(evil))
	defer backend.stop()
	if err != nil {
		return err
	}
	if target != backend {
		defer target.stop()
	}

	quiet, rate, backendRate := r.calm(target, backend)
	r.quiet = quiet
	stop := make(chan struct{})
	seen := make(chan *witness)
	go func() { seen <- ask(target.addr, stop) }()
	r.before = resident(target.Process.Pid)
	var peak, kernel atomic.Int64
	buffered := kernelMemory()
	go func() {
		for ; ; time.Sleep(20 * time.Millisecond) {
			select {
			case <-stop:
				return
			default:
				peak.Store(max(peak.Load(), resident(target.Process.Pid)))
				kernel.Store(max(kernel.Load(), kernelMemory()-buffered))
			}
		}
	}()
	began, cpu, backendCPU := time.Now(), cpuTime(target.Process.Pid), cpuTime(backend.Process.Pid)
	fmt.Fprintln(in, target.addr)
	line, err := said.ReadString('\n')
	r.took = time.Since(began)
	r.cpu = max(0, cpuTime(target.Process.Pid)-cpu-time.Duration(rate*float64(r.took)))
	r.backendCPU = max(0, cpuTime(backend.Process.Pid)-backendCPU-time.Duration(backendRate*float64(r.took)))
	close(stop)
	r.attacked = <-seen
	if err != nil {
		return fmt.Errorf("the attacker: %w", err)
	}
	in.Close()
	fmt.Sscan(line, &r.sent)
	_, r.note, _ = strings.Cut(strings.TrimSpace(line), " ")
	r.peak, r.kernel = peak.Load(), kernel.Load()
	if r.kind == parks {
		time.Sleep(time.Second)
	}
	r.after = resident(target.Process.Pid)
	return nil
}

// start starts what the mode needs.
func (r *result) start(f *field, evil []string) (backend, target *program, err error) {
	if backend, err = f.startBackend(); err != nil {
		return nil, nil, err
	}
	switch r.mode {
	case "server":
		return backend, backend, nil
	case "nginx":
		target, err = f.startNginx(backend.addr, evil)
	default:
		target, err = f.startGateway(r.mode, backend.addr, evil)
	}
	return backend, target, err
}

// calm measures the honest client alone, and what it costs: seconds of CPU time in a
// second.
func (r *result) calm(target, backend *program) (h *witness, rate, backendRate float64) {
	stop := make(chan struct{})
	began, cpu, backendCPU := time.Now(), cpuTime(target.Process.Pid), cpuTime(backend.Process.Pid)
	time.AfterFunc(*quiets, func() { close(stop) })
	h = ask(target.addr, stop)
	took := float64(time.Since(began))
	return h, float64(cpuTime(target.Process.Pid)-cpu) / took, float64(cpuTime(backend.Process.Pid)-backendCPU) / took
}

const row = "%-22s %-7s %13s %13s %8s  %13s %13s %8s  %15s %7s  %8s %9s %9s %9s %7s  %s\n"

func printHeading() {
	fmt.Printf(row, "", "", "kept ms", "attacked", "", "new ms", "attacked", "", "RSS MB", "kernel", "sent", "CPU", "backend", "ns per", "times", "")
	fmt.Printf(row, "attack", "mode", "p50/p99", "p50/p99", "failed", "p50/p99", "p50/p99", "failed", "before/peak/after", "MB", "kB", "ms", "ms", "byte", "nginx", "")
}

// print prints a row of the table, and returns how many of its figures are more than
// they may be: a request of an honest client that failed, a median of more than twice
// what it was (and a millisecond), CPU time of more than three times nginx's.
func (r *result) print() (bad int) {
	if r.err != nil {
		fmt.Printf("%-22s %-7s %v\n", r.name, r.mode, r.err)
		return 1
	}
	mark := func(is bool) string {
		if is && r.mode != "nginx" {
			bad++
			return "!"
		}
		return ""
	}
	slower := func(before, now *samples) string {
		return ms(now) + mark(now.at(0.5) > 2*before.at(0.5)+time.Millisecond)
	}
	failed := func(s *samples) string {
		return fmt.Sprintf("%d/%d", s.failed, len(s.times)) + mark(s.failed > 0)
	}
	perByte, times := "", ""
	if r.kind == works {
		perByte = fmt.Sprintf("%.1f", r.perByte())
		if r.nginx > 0 {
			times = fmt.Sprintf("%.1f", r.perByte()/r.nginx) + mark(r.perByte() > 3*r.nginx && r.mode != "server")
		}
	}
	why := r.attacked.kept.why
	if why == nil {
		why = r.attacked.fresh.why
	}
	if why != nil {
		r.note = strings.TrimSpace(r.note + " honest: " + why.Error())
	}
	if strings.HasPrefix(r.note, "CUT") {
		r.note += mark(true)
	}
	fmt.Printf(row, r.name, r.mode, ms(&r.quiet.kept), slower(&r.quiet.kept, &r.attacked.kept), failed(&r.attacked.kept),
		ms(&r.quiet.fresh), slower(&r.quiet.fresh, &r.attacked.fresh), failed(&r.attacked.fresh),
		fmt.Sprintf("%d/%d/%d", r.before>>20, r.peak>>20, r.after>>20), fmt.Sprint(r.kernel>>20), fmt.Sprint(r.sent>>10),
		fmt.Sprint(r.cpu.Milliseconds()), fmt.Sprint(r.backendCPU.Milliseconds()), perByte, times, r.note)
	return bad
}

func ms(s *samples) string {
	return fmt.Sprintf("%.2f/%.1f", s.at(0.5).Seconds()*1000, s.at(0.99).Seconds()*1000)
}
