// Part 4: the other side of the connection. A client, a pool that keeps its
// connections, and a gateway: part 3's server in front of them.
//
//	go run ./part4-pooling -backend http://127.0.0.1:9000    serve http://127.0.0.1:8080 from there
//	go run ./part4-pooling get http://127.0.0.1:8080/         fetch through a pool
//	go run ./part4-pooling demo                              watch reuse, and a server that was paused
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

// run is the program. Its exit status is 0 when all went well, 1 when it could
// not do what it was asked for, 2 when it did not understand.
func run(args []string, stdout, stderr io.Writer) int {
	verb := "serve"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		verb, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {} // help says it, in the right place
	help := func(w io.Writer) { fmt.Fprint(w, usage); flags.SetOutput(w); flags.PrintDefaults() }
	check := func() error { return noArguments(flags) }
	var action func() error
	switch verb {
	case "serve":
		o := serveFlags(flags)
		check = func() error {
			return errors.Join(noArguments(flags), o.limits.Validate(), o.timeouts.Validate(), o.pool.Validate(), o.engines.Validate(), gateway.ValidateBackends(o.backends), o.validateAbort())
		}
		action = func() error { return serve(o, stdout, slog.New(slog.NewTextHandler(stderr, nil))) }
	case "get":
		times := flags.Int("n", 1, "how `many` times")
		bodies := flags.Bool("body", false, "print the bodies too")
		callers := flags.Int("callers", 0, "how many call the first URL at once, as often as they can")
		one := flags.Bool("one", false, "let them share one connection, and not wait for each other's answers")
		length := flags.Duration("for", time.Second, "how long they do so")
		check = func() error { return urlArguments(flags) }
		action = func() error {
			if *callers > 0 {
				return benchmark(stdout, flags.Arg(0), *callers, *length, *one)
			}
			return fetch(stdout, flags.Args(), *times, *bodies)
		}
	case "keep":
		addr := flags.String("addr", "127.0.0.1:0", "IP `address` and port of the server that demo pauses")
		idle := flags.Duration("idle", serverIdleTime, "that it keeps an idle connection")
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
	} else if err != nil { // the flag package has said what
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

// options of serve.
type options struct {
	addr         string
	grace        time.Duration
	root         string
	dotfiles     bool // files whose names begin with a dot are served too
	limits       server.Limits
	backends     []gateway.Backend
	admin        string
	abortOnClose bool
	timeouts     client.Timeouts
	pool         pool.Limits
	engines      gateway.EngineOptions

	behindProxy, showBackends bool     // as gateway has them
	adminNames                []string // as gateway has them
}

func serveFlags(f *flag.FlagSet) *options {
	o := &options{}
	f.StringVar(&o.addr, "addr", "127.0.0.1:8080", "IP `address` and port to listen on; port 0 picks a free one")
	f.DurationVar(&o.grace, "grace", 5*time.Second, "time to answer who is in line after SIGINT or SIGTERM")
	f.StringVar(&o.root, "root", "", "`directory` whose files are served under /files/")
	f.BoolVar(&o.dotfiles, "dotfiles", false, "serve files and directories whose names begin with a dot, too")
	o.limits.AddFlags(f)
	f.Func("backend", "`[PATH=]URL` of a server of HTTP/1.1 that answers for all paths, or for those below PATH; can be repeated", func(s string) error {
		p, err := gateway.ParseBackend(s)
		o.backends = append(o.backends, p)
		return err
	})
	f.Func("engine", "`[PATH=]URL` of a backend that works on the requests of one connection side by side: like -backend, but each client's requests share a connection", func(s string) error {
		p, err := gateway.ParseBackend(s)
		p.Engine = true
		o.backends = append(o.backends, p)
		return err
	})
	f.BoolVar(&o.behindProxy, "behind-proxy", false, "all clients are proxies of our own: what they say in X-Forwarded-Host, X-Forwarded-Proto, X-Real-IP and the like is passed on")
	f.BoolVar(&o.showBackends, "show-backends", false, "a 502, 503 or 504 names the backend and all that is known of the failure, for learners; the log always does")
	f.StringVar(&o.admin, "admin", "", "IP `address` and port for /-/stats, /-/metrics and /-/drop; none if empty")
	f.Func("admin-name", "`name` by which the admin address may be asked, besides localhost and IP addresses; can be repeated", func(s string) error {
		o.adminNames = append(o.adminNames, s)
		return nil
	})
	f.BoolVar(&o.abortOnClose, "abort-on-close", false, "abort the requests of a client that closes before its answer, and let others have their backend connections; a client that only closes its sending side, as HTTP allows, gets no answer then; needs -wait loop")
	o.timeouts.AddFlags(f)
	o.pool.AddFlags(f)
	o.engines.AddFlags(f)
	return o
}

// validateAbort refuses what only a loop sees: that a client closes while a handler
// is at work.
func (o *options) validateAbort() error {
	if o.abortOnClose && o.limits.Driver != "loop" {
		return errors.New("-abort-on-close needs -wait loop (Linux)")
	}
	return nil
}

// backendConnections is how many the pool may have.
func (o *options) backendConnections() int {
	addrs := map[string]bool{}
	for _, p := range o.backends {
		addrs[p.Addr] = true
	}
	return min(o.pool.Total, max(1, len(addrs)*o.pool.PerBackend))
}

// handler is what answers: files, backends, and the routes of part 3 for the rest.
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

// adminRoutes are what the gateway's admin address has.
func adminRoutes(g *gateway.Gateway) server.Handler {
	read, write := []string{"GET", "HEAD"}, []string{"POST"}
	all := []route{
		{"/-/stats", read, g.ServeStats},
		{"/-/metrics", read, g.ServeMetrics},
		{"/-/drop", write, g.ServeDrop},
	}
	return func(w *server.Response, r *server.Request) { dispatch(w, r, all) }
}

// serve runs a server until SIGINT or SIGTERM and gives it grace to finish; a
// second signal ends it at once.
func serve(o *options, stdout io.Writer, log *slog.Logger) error {
	apart := 0
	if o.admin != "" {
		apart = gateway.MaxAdminConnections + runtime.GOMAXPROCS(0) + 1
	}
	o.pool.Total = o.limits.ShareDescriptors(o.backendConnections(), apart, log)
	o.pool.OneClient = o.pool.OneClient || o.behindProxy // then all addresses are proxies, and stand for many clients
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
	s.AbortOnClose = o.abortOnClose
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
	log.Info("stopping: first those who are in line; at once with a second signal")
	s.Stop()
	select {
	case <-done:
		return nil
	case <-signals:
		return errors.New("stopped at once by a second signal")
	case <-time.After(o.grace):
		return fmt.Errorf("grace is over after %v: not everybody got an answer", o.grace)
	}
}
