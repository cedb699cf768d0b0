// Part 4: the other side of the connection. An HTTP/1.1 client, a pool that
// keeps its connections, and a gateway that forwards what part 3's server
// receives.
//
//	go run ./part4-pooling -backend http://127.0.0.1:9000    forward http://127.0.0.1:8080 to a backend
//	go run ./part4-pooling get http://127.0.0.1:8080/         fetch through a pool
//	go run ./part4-pooling demo                              connection reuse, and a paused server
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
	"socketup/part4-pooling/socket"
)

const usage = `usage: part4-pooling [serve] [-addr ADDRESS] [-backend [PATH=]URL]... [-engine [PATH=]URL]... [-admin ADDRESS] [-behind-proxy] [-one-client] [-show-backends] [-abort-on-close] [-grace DURATION] [-root DIR [-dotfiles]] [-wait DRIVER] [LIMITS]
       part4-pooling get [-n TIMES] [-body] URL...
       part4-pooling get -callers N [-one] [-for DURATION] URL
       part4-pooling keep [-addr ADDRESS] [-idle DURATION]
       part4-pooling demo [-json]
example: part4-pooling serve -backend http://127.0.0.1:9000 -backend /api=http://127.0.0.1:9001 -admin 127.0.0.1:8081
`

const backlog = 4096 // connections that may wait to be accepted; the kernel caps it at net.core.somaxconn

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes one command line and returns the exit status: 0 on success, 1
// when the action failed, 2 for a usage error.
func run(args []string, stdout, stderr io.Writer) int {
	verb := "serve"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		verb, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {} // help prints it, to stdout or stderr as the case requires
	help := func(w io.Writer) { fmt.Fprint(w, usage); flags.SetOutput(w); flags.PrintDefaults() }
	check := func() error { return noArguments(flags) }
	var action func() error
	switch verb {
	case "serve":
		o := serveFlags(flags)
		check = func() error {
			return errors.Join(noArguments(flags), o.limits.Validate(), o.timeouts.Validate(), o.pool.Validate(), o.engines.Validate(), gateway.ValidateBackends(o.backends), o.validateAbort(), o.validateAddresses())
		}
		action = func() error { return serve(o, stdout, slog.New(slog.NewTextHandler(stderr, nil))) }
	case "get":
		times := flags.Int("n", 1, "fetch each URL this `many` times")
		bodies := flags.Bool("body", false, "also print the response bodies")
		callers := flags.Int("callers", 0, "`number` of goroutines that request the URL concurrently, as fast as they can; prints the rate")
		one := flags.Bool("one", false, "with -callers: pipeline all requests on one connection instead of using a pool")
		length := flags.Duration("for", time.Second, "with -callers: how long to send requests")
		check = func() error { return urlArguments(flags) }
		action = func() error {
			if *callers > 0 {
				return benchmark(stdout, flags.Arg(0), *callers, *length, *one)
			}
			return fetch(stdout, flags.Args(), *times, *bodies)
		}
	case "keep":
		addr := flags.String("addr", "127.0.0.1:0", "IP `address` and port to listen on; demo starts this server and pauses it")
		idle := flags.Duration("idle", serverIdleTime, "how long an idle connection is kept open")
		action = func() error { return serveUntilIdle(*addr, *idle, stdout) }
	case "demo":
		asJSON := flags.Bool("json", false, "print the first experiment's events as JSON lines")
		action = func() error { return demo(stdout, *asJSON) }
	default:
		fmt.Fprintf(stderr, "unknown verb %q\n%s", verb, usage)
		return 2
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		help(stdout)
		return 0
	} else if err != nil { // the flag package has printed the error
		help(stderr)
		return 2
	}
	if err := check(); err != nil {
		fmt.Fprintf(stderr, "%v\n%s", err, usage)
		return 2
	}
	if err := action(); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func noArguments(flags *flag.FlagSet) error {
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return nil
}

func urlArguments(flags *flag.FlagSet) error {
	if flags.NArg() == 0 {
		return errors.New("want a URL, such as http://127.0.0.1:8080/")
	}
	for _, u := range flags.Args() {
		if _, err := client.ParseURL(u); err != nil {
			return err
		}
	}
	return nil
}

// options are the flags of serve.
type options struct {
	addr         string
	grace        time.Duration
	root         string
	dotfiles     bool // also serve files whose names begin with a dot
	limits       server.Limits
	backends     []gateway.Backend
	admin        string
	abortOnClose bool
	timeouts     client.Timeouts
	pool         pool.Limits
	engines      gateway.EngineOptions

	behindProxy, showBackends bool     // see gateway.Gateway
	adminNames                []string // see gateway.Gateway
}

func serveFlags(f *flag.FlagSet) *options {
	o := &options{}
	f.StringVar(&o.addr, "addr", "127.0.0.1:8080", "IP `address` and port to listen on; port 0 picks a free one, and fd:3 is a listening socket passed as descriptor 3")
	f.DurationVar(&o.grace, "grace", 5*time.Second, "how long after SIGINT or SIGTERM requests in flight and queued connections may take to be served")
	f.StringVar(&o.root, "root", "", "`directory` whose files are served under /files/")
	f.BoolVar(&o.dotfiles, "dotfiles", false, "also serve files and directories whose names begin with a dot")
	o.limits.AddFlags(f)
	f.Func("backend", "`[PATH=]URL` of an HTTP/1.1 server that requests are forwarded to: all of them, or those whose path begins with PATH; can be repeated", func(s string) error {
		p, err := gateway.ParseBackend(s)
		o.backends = append(o.backends, p)
		return err
	})
	f.Func("engine", "`[PATH=]URL` of a backend that handles pipelined requests concurrently: like -backend, but each client's requests share one connection", func(s string) error {
		p, err := gateway.ParseBackend(s)
		p.Engine = true
		o.backends = append(o.backends, p)
		return err
	})
	f.BoolVar(&o.behindProxy, "behind-proxy", false, "all clients are our own proxies: forward their X-Forwarded-Host, X-Forwarded-Proto, X-Real-IP and similar fields")
	f.BoolVar(&o.showBackends, "show-backends", false, "name the backend and the cause of the failure in a 502, 503 or 504, for learning; the log always does")
	f.StringVar(&o.admin, "admin", "", "IP `address` and port for /-/stats, /-/metrics and /-/drop, or fd:4 as for -addr; none if empty")
	f.Func("admin-name", "`name` that the admin address accepts in Host, besides localhost and IP addresses; can be repeated", func(s string) error {
		o.adminNames = append(o.adminNames, s)
		return nil
	})
	f.BoolVar(&o.abortOnClose, "abort-on-close", false, "abort the requests of a client that closes before the response, and free their backend connections; a client that only half-closes, as HTTP allows, then gets no response; needs -wait loop")
	o.timeouts.AddFlags(f)
	o.pool.AddFlags(f)
	o.engines.AddFlags(f)
	return o
}

// validateAbort rejects -abort-on-close without the loop driver: no other
// driver notices that a client closes while its handler runs.
func (o *options) validateAbort() error {
	if o.abortOnClose && o.limits.Driver != "loop" {
		return errors.New("-abort-on-close needs -wait loop (Linux)")
	}
	return nil
}

// validateAddresses rejects one inherited socket for two servers.
func (o *options) validateAddresses() error {
	if socket.IsInherited(o.addr) && o.addr == o.admin {
		return fmt.Errorf("-addr and -admin are both %s: each needs a socket of its own", o.addr)
	}
	return nil
}

// backendConnections returns how many connections the pool may open.
func (o *options) backendConnections() int {
	addrs := map[string]bool{}
	for _, p := range o.backends {
		addrs[p.Addr] = true
	}
	return min(o.pool.Total, max(1, len(addrs)*o.pool.PerBackend))
}

// handler returns the handler of serve: files, backends, and the routes of part
// 3 for all other paths.
func (o *options) handler(g *gateway.Gateway) (server.Handler, error) {
	var extra []route
	if o.root != "" {
		files, err := filesRoute(o.root, o.dotfiles)
		if err != nil {
			return nil, err
		}
		extra = append(extra, files)
	}
	return g.Handler(routes(extra...)), nil
}

// adminRoutes returns the handler of the gateway's admin address.
func adminRoutes(g *gateway.Gateway) server.Handler {
	read, write := []string{"GET", "HEAD"}, []string{"POST"}
	all := []route{
		{"/-/stats", read, g.ServeStats},
		{"/-/metrics", read, g.ServeMetrics},
		{"/-/drop", write, g.ServeDrop},
	}
	return func(w *server.Response, r *server.Request) { dispatch(w, r, all) }
}

// serve runs a server until SIGINT or SIGTERM, then gives it o.grace to finish;
// a second signal ends it immediately.
func serve(o *options, stdout io.Writer, log *slog.Logger) error {
	apart := 0
	if o.admin != "" {
		apart = gateway.MaxAdminConnections + runtime.GOMAXPROCS(0) + 1
	}
	o.pool.Total = o.limits.ShareDescriptors(o.backendConnections(), apart, log)
	if len(o.backends) > 0 {
		o.limits.HandlerMemory = gateway.RequestMemory(o.limits.Head)
	}
	o.pool.OneClient = o.pool.OneClient || o.behindProxy // an address is then that of a proxy, which stands for many clients
	p := pool.New(o.pool)
	defer p.Close()
	p.StartEvictor(time.Second)
	g := gateway.New(p, o.backends)
	g.Timeouts, g.Engines, g.BehindProxy, g.ShowBackends, g.AdminNames = o.timeouts, o.engines, o.behindProxy, o.showBackends, o.adminNames
	h, err := o.handler(g)
	if err != nil {
		return err
	}
	fd, err := socket.Listen(o.addr, backlog)
	if err != nil {
		return err
	}
	s, err := server.New(fd, h, o.limits, log)
	if err != nil {
		return err
	}
	s.AbortOnClose, s.KeepQueue = o.abortOnClose, socket.IsInherited(o.addr)
	if len(o.backends) > 0 {
		s.Offloader = g.OffloadOrReserve
	}
	if o.admin != "" {
		at, stop, err := g.StartAdmin(o.admin, adminRoutes(g), log)
		if err != nil {
			s.Close()
			return err
		}
		defer stop()
		log.Info("admin", "stats", "http://"+at+"/-/stats")
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	fmt.Fprintf(stdout, "listening on http://%s\n", socket.LocalAddr(fd))
	done := make(chan struct{})
	go func() { s.Serve(); close(done) }()

	<-signals
	log.Info("stopping: serving requests in flight and queued connections; a second signal stops immediately")
	s.Stop()
	select {
	case <-done:
		return nil
	case <-signals:
		return errors.New("stopped immediately by a second signal")
	case <-time.After(o.grace):
		return fmt.Errorf("grace is over after %v: some clients got no response", o.grace)
	}
}
