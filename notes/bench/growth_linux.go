package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	growthTurns = 3                      // of which the median counts
	growthRun   = 300 * time.Millisecond // of load, for each point
	growthRate  = 10_000                 // requests a second for the latency: a fifth of what the slowest server can do
)

var (
	growthDepths = []int{1, 4, 16, 64, 256}
	growthConns  = []int{1, 10, 100, 1000, 10_000} // each is a descriptor of both processes (RLIMIT_NOFILE)
)

// A contender is a server that is measured.
type contender struct {
	name    string
	command []string // without the address, which is its last argument
	process *os.Process
	addr    string
	rates   [][]float64 // requests per second, by depth, of each turn
	cpus    [][]float64 // nanoseconds per request
	times   [][]float64 // median response time in nanoseconds, by connections
}

// growth measures the drivers of part 3 and their peers at a growing depth of the
// pipeline and with a growing number of connections, and records three plots in dir. The
// servers have one core, the load another. It takes about two minutes.
func growth(dir string) error {
	work, err := os.MkdirTemp("", "growth")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	all, err := contenders(work)
	if err != nil {
		return err
	}
	for i, c := range all {
		c.addr = fmt.Sprintf("127.0.0.1:%d", 18600+i)
		if err := c.start(work); err != nil {
			return err
		}
		defer c.process.Wait()
		defer c.process.Signal(syscall.SIGTERM)
	}
	time.Sleep(time.Second)
	for turn := range growthTurns {
		for i := range all {
			if err := all[(i+turn)%len(all)].measure(); err != nil {
				return err
			}
		}
	}
	return record(dir, all)
}

// contenders are the servers of this machine, built in work.
func contenders(work string) ([]*contender, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	part3 := filepath.Join(work, "part3")
	build := exec.Command("go", "build", "-o", part3, "./part3-pipelining")
	build.Dir, build.Stderr = "..", os.Stderr // bench is run in notes
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("build part 3 (run this in notes): %w", err)
	}
	var all []*contender
	for _, driver := range []string{"loop", "goroutines", "serial"} {
		all = append(all, &contender{name: driver, command: []string{part3, "serve", "-wait", driver, "-connections", "12000", "-addr"}})
	}
	all = append(all, &contender{name: "fasthttp", command: []string{self, "fasthttp"}}, &contender{name: "net/http", command: []string{self, "nethttp"}})
	if nginx, err := exec.LookPath("nginx"); err == nil {
		all = append(all, &contender{name: "nginx", command: []string{nginx, "-c"}})
	}
	return all, nil
}

const nginxConf = `worker_processes 1;
worker_rlimit_nofile 16384;
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr crit;
events { worker_connections 12000; }
http {
	access_log off;
	keepalive_requests 1000000000;
	default_type text/plain;
	server { listen %[2]s backlog=4096; location / { return 200 "Hello, World!\n"; } }
}
`

func (c *contender) start(work string) error {
	last := c.addr
	if c.name == "nginx" {
		last = filepath.Join(work, "nginx.conf")
		if err := os.WriteFile(last, fmt.Appendf(nil, nginxConf, work, c.addr), 0o600); err != nil {
			return err
		}
	}
	cmd := exec.Command("taskset", append(append([]string{"-c", "0"}, c.command...), last)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	err := cmd.Start()
	c.process = cmd.Process
	return err
}

// measure takes one turn of every point.
func (c *contender) measure() error {
	c.rates, c.cpus = append(c.rates, nil), append(c.cpus, nil)
	c.times = append(c.times, nil)
	turn := len(c.rates) - 1
	for _, depth := range growthDepths {
		rate, cpu, err := c.load("-conns", "32", "-depth", strconv.Itoa(depth), "-pid", strconv.Itoa(c.process.Pid))
		if err != nil {
			return err
		}
		c.rates[turn], c.cpus[turn] = append(c.rates[turn], rate), append(c.cpus[turn], cpu)
	}
	for _, conns := range growthConns {
		median, _, err := c.load("-conns", strconv.Itoa(conns), "-rate", strconv.Itoa(growthRate))
		if err != nil {
			return err
		}
		c.times[turn] = append(c.times[turn], median)
	}
	return nil
}

// load runs the load generator on the other core, and returns the two numbers it prints.
func (c *contender) load(args ...string) (a, b float64, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	cmd := exec.Command("taskset", append([]string{"-c", "1", self, "load", "-addr", c.addr, "-for", growthRun.String()}, args...)...)
	cmd.Env, cmd.Stderr = append(os.Environ(), "GOMAXPROCS=1"), os.Stderr
	out, err := cmd.Output()
	if err == nil {
		_, err = fmt.Sscan(string(out), &a, &b)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%s %s: %w", c.name, strings.Join(args, " "), err)
	}
	return a, b, nil
}

// A plot is what notes/plot.go draws.
type plot struct {
	Title    string  `json:"title"`
	Alt      string  `json:"alt"`
	Recorded string  `json:"recorded"`
	X        string  `json:"x"`
	Y        string  `json:"y"`
	Log      bool    `json:"log"`
	Series   []curve `json:"series"`
}

type curve struct {
	Name   string       `json:"name"`
	Colour int          `json:"colour"`
	Points [][2]float64 `json:"points"`
}

// record writes the medians.
func record(dir string, all []*contender) error {
	var release syscall.Utsname
	if err := syscall.Uname(&release); err != nil {
		return err
	}
	var kernel []byte
	for _, b := range release.Release {
		if b == 0 || b == '-' {
			break
		}
		kernel = append(kernel, byte(b))
	}
	recorded := fmt.Sprintf("Linux %s, a core for the server and one for the load; medians of %d", kernel, growthTurns)
	plots := map[string]*plot{
		"depth-rate": {Title: "Requests per second, by depth", X: "requests in flight on each of 32 connections", Y: "thousand requests per second",
			Alt: "Curves of requests per second against the depth of the pipeline from 1 to 256, for the three drivers of part 3, fasthttp, net/http and nginx."},
		"depth-cpu": {Title: "CPU time of a request, by depth", X: "requests in flight on each of 32 connections", Y: "microseconds of the server's CPU per request",
			Alt: "Curves of the server's CPU time for one request against the depth of the pipeline from 1 to 256, for the three drivers of part 3, fasthttp, net/http and nginx."},
		"connections-latency": {Title: "Response time, by connections", X: fmt.Sprintf("open connections, with %d,000 requests/s in all", growthRate/1000), Y: "median response time, microseconds",
			Alt: "Curves of the median response time against the number of connections from 1 to 10,000, for the three drivers of part 3, fasthttp, net/http and nginx."},
	}
	for i, c := range all {
		for name, of := range map[string]curve{
			"depth-rate":          {c.name, i, medians(growthDepths, c.rates, 1e-3)},
			"depth-cpu":           {c.name, i, medians(growthDepths, c.cpus, 1e-3)},
			"connections-latency": {c.name, i, medians(growthConns, c.times, 1e-3)},
		} {
			plots[name].Series = append(plots[name].Series, of)
		}
	}
	for name, p := range plots {
		p.Recorded, p.Log = recorded, true
		src, err := json.MarshalIndent(p, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name+".plot.json"), append(src, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// medians are the points of a curve, to three digits.
func medians(xs []int, turns [][]float64, unit float64) [][2]float64 {
	var points [][2]float64
	for i, x := range xs {
		var values []float64
		for _, turn := range turns {
			values = append(values, turn[i])
		}
		slices.Sort(values)
		y, _ := strconv.ParseFloat(fmt.Sprintf("%.3g", values[len(values)/2]*unit), 64)
		points = append(points, [2]float64{float64(x), y})
	}
	return points
}
