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
	"slices"
	"syscall"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/engine"
	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
	"socketup/part4-pooling/socket"
)

const (
	program = "part4-pooling"
	example = program + " serve -backend http://127.0.0.1:9000"
	backlog = 4096 // connections that may wait to be accepted; the kernel caps it at net.core.somaxconn
)

var verbs = []verb{
	{"serve", "", "Answers HTTP/1.1 requests, those for a backend by forwarding them, until ^C.", serveVerb},
	{"get", "URL...", "Fetches each URL through a pool of connections, or measures how fast one URL can be fetched.", getVerb},
	{"keep", "", "Serves with connections that it closes soon when they are idle: the server that demo pauses.", keepVerb},
	{"demo", "", "Shows what connection reuse saves, how a kept connection goes stale, and what an engine is worth.", demoVerb},
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func serveVerb(flags *flag.FlagSet, stdout, stderr io.Writer) func() error {
	o := serveFlags(flags)
	return func() error {
		err := errors.Join(o.limits.Validate(), validateGrace(o.grace), o.timeouts.Validate(), o.pool.Validate(), o.engines.Validate(), o.streams.Validate(), gateway.ValidateBackends(o.backends), o.validateAbort(), o.validateAddresses())
		if err != nil {
			return fmt.Errorf("serve %w: %w", errUsage, err)
		}
		return serve(o, stdout, newLogger(stderr, *o.logFormat))
	}
}

func getVerb(flags *flag.FlagSet, stdout, _ io.Writer) func() error {
	times := flags.Int("n", 1, "how many times each URL is fetched")
	bodies := flags.Bool("body", false, "also print the response bodies")
	callers := flags.Int("callers", 0, "how many goroutines request the URL concurrently, as fast as they can; prints the rate")
	one := flags.Bool("one", false, "with -callers: pipeline all requests on one connection instead of using a pool")
	length := flags.Duration("for", time.Second, "with -callers: how long to send requests")
	return func() error {
		if err := checkURLs(flags.Args()); err != nil {
			return fmt.Errorf("get %w: %w", errUsage, err)
		}
		return untilInterrupted(func() error {
			if *callers > 0 {
				return benchmark(stdout, flags.Arg(0), *callers, *length, *one)
			}
			return fetch(stdout, flags.Args(), *times, *bodies)
		})
	}
}

func keepVerb(flags *flag.FlagSet, stdout, stderr io.Writer) func() error {
	addr := flags.String("addr", "127.0.0.1:0", "IP `address` and port to listen on")
	idle := flags.Duration("idle", serverIdleTime, "how long an idle connection is kept open")
	return func() error {
		err := untilInterrupted(func() error { return serveUntilIdle(*addr, *idle, stdout) })
		if errors.Is(err, errInterrupted) {
			printError(stderr, errors.New("stopped; its connections are closed"))
			return nil
		}
		return err
	}
}

func demoVerb(flags *flag.FlagSet, stdout, _ io.Writer) func() error {
	asJSON := flags.Bool("json", false, "print every experiment's events and results as JSON lines")
	onlyStreams := flags.Bool("streams", false, "only the experiments with HTTP/2")
	return func() error {
		return untilInterrupted(func() error { return demo(stdout, *asJSON, *onlyStreams) })
	}
}

func checkURLs(urls []string) error {
	if len(urls) == 0 {
		return errors.New("want a URL, such as http://127.0.0.1:8080/")
	}
	for _, u := range urls {
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
	logFormat    *logFormat
	accessLog    bool
	backends     []gateway.Backend
	admin        string
	abortOnClose bool
	timeouts     client.Timeouts
	pool         pool.Limits
	engines      gateway.EngineOptions
	streams      engine.StreamLimits

	behindProxy, showBackends bool     // see gateway.Gateway
	adminNames                []string // see gateway.Gateway
}

func serveFlags(f *flag.FlagSet) *options {
	o := &options{}
	f.StringVar(&o.addr, "addr", "127.0.0.1:8080", "IP `address` and port to listen on; port 0 picks a free one, and fd:3 is a listening socket passed as descriptor 3")
	f.DurationVar(&o.grace, "grace", 5*time.Second, "how long after SIGINT or SIGTERM requests in flight and queued connections may take to be served")
	f.StringVar(&o.root, "root", "", "`directory` whose files are served under /files/")
	f.BoolVar(&o.dotfiles, "dotfiles", false, "also serve files and directories whose names begin with a dot")
	o.logFormat = logFormatFlag(f)
	f.BoolVar(&o.accessLog, "access-log", false, "log a line for each response: method, target, status, bytes, milliseconds, client; no response waits for the log, which may lack lines and then counts them")
	o.limits.AddFlags(f)
	f.Func("backend", "`[PATH=]URL` of an HTTP/1.1 server that requests are forwarded to: all of them, or those whose path begins with PATH; can be repeated", func(s string) error {
		p, err := gateway.ParseBackend(s)
		o.backends = append(o.backends, p)
		return err
	})
	f.Func("engine", "`[PATH=]URL` of a backend that handles the requests of one connection concurrently: like -backend, but each client's requests share one connection, or, if the URL begins with h2c://, all clients' requests share HTTP/2 connections", func(s string) error {
		p, err := gateway.ParseEngine(s)
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
	o.streams.AddFlags(f)
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

// validateGrace rejects a negative -grace.
func validateGrace(grace time.Duration) error {
	if grace < 0 {
		return fmt.Errorf("bad grace %v: want a time that is not negative, such as 5s", grace)
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
		if slices.ContainsFunc(o.backends, func(p gateway.Backend) bool { return p.HTTP2 }) {
			o.limits.HandlerMemory += o.streams.RequestMemory()
		}
	}
	o.pool.OneClient = o.pool.OneClient || o.behindProxy // an address is then that of a proxy, which stands for many clients
	p := pool.New(o.pool)
	defer p.Close()
	p.StartEvictor(time.Second)
	g := gateway.New(p, o.backends)
	g.Timeouts, g.Engines, g.BehindProxy, g.ShowBackends, g.AdminNames = o.timeouts, o.engines, o.behindProxy, o.showBackends, o.adminNames
	g.Streams.Limits = o.streams
	defer g.Streams.Close()
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
	if o.admin != "" {
		s.OnServed = g.Responses.Observe
	}
	if o.accessLog {
		a, before := newAccessLog(log), s.OnServed
		defer a.close()
		s.OnServed = func(v server.Served) {
			if a.record(v); before != nil {
				before(v)
			}
		}
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	fmt.Fprintf(stdout, "listening on http://%s\n", socket.LocalAddr(fd))
	done := make(chan struct{})
	go func() { s.Serve(); close(done) }()

	<-signals
	log.Info(fmt.Sprintf("stopping: %s, up to %v; ^C again to stop now", plural(s.Connections(), "connection"), o.grace))
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
