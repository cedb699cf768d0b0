package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"socketup/part3-pipelining/server"
	"socketup/part3-pipelining/socket"
)

// The experiment of chapters 3 to 5: one client sends many requests in one write to part
// 3's server, whose handlers take different times. The responses keep the order of the
// requests.

var pipeline = experiment{
	Name:  "pipeline",
	Title: "Pipeline",
	About: "A client sends all its requests in one write to part 3's server. Each has a slot in the queue of its connection. " +
		"Handlers run side by side, but a response that is finished waits until all earlier ones have been sent.",
	Settings: []setting{
		{Name: "depth", Label: "requests", Low: 1, High: 32, Step: 1, Default: 8},
		{Name: "slots", Label: "slots of the connection", Low: 1, High: 32, Step: 1, Default: 32},
		{Name: "a", Label: "1st, 5th, 9th … handler, ms", Low: 0, High: 500, Step: 10, Default: 300},
		{Name: "b", Label: "2nd, 6th, 10th … handler, ms", Low: 0, High: 500, Step: 10, Default: 50},
		{Name: "c", Label: "3rd, 7th, 11th … handler, ms", Low: 0, High: 500, Step: 10, Default: 150},
		{Name: "d", Label: "4th, 8th, 12th … handler, ms", Low: 0, High: 500, Step: 10, Default: 100},
		{Name: "driver", Label: "the server waits", High: 2, Default: slices.Index(drivers, server.DefaultDriver), Choices: drivers},
	},
	Predict: setting{Name: "said", Label: "When does the last response arrive, in ms?", High: 5000, Step: 10, Default: 1200, One: "ms until the last response", Many: "ms until the last response"},
	Parts: func(v values) []string {
		paths := ""
		for i := range v["depth"] {
			paths += fmt.Sprintf(" /sleep/%dms", v.handlerTime(i+1).Milliseconds())
		}
		return []string{
			fmt.Sprintf("go run ./part3-pipelining -wait %s -pipeline %d", drivers[v["driver"]], v["slots"]),
			"go run ./part3-pipelining pipe 127.0.0.1:8080" + paths,
		}
	},
	play: playPipeline,
}

var drivers = []string{"serial", "goroutines", "loop"}

// handlerTime is how long the handler of request n takes; 1 is the first.
func (v values) handlerTime(n int) time.Duration {
	return time.Duration(v[string(rune('a'+(n-1)%4))]) * time.Millisecond
}

func playPipeline(ctx context.Context, r *Run, v values) (outcome, error) {
	h := sleeper{ctx: ctx, run: r, v: v}
	addr, stop, err := h.start()
	if err != nil {
		return outcome{}, err
	}
	defer stop()
	took, err := h.pipe(ctx, addr)
	if err != nil {
		return outcome{}, err
	}
	sum := time.Duration(0)
	for n := range v["depth"] {
		sum += v.handlerTime(n + 1)
	}
	text := fmt.Sprintf("The handlers' times add up to %d ms; at most %s at once, and %s finished while an earlier one was not.",
		sum.Milliseconds(), plural(int(h.most.Load()), "handler ran", "handlers ran"), plural(int(h.early.Load()), "response was", "responses were"))
	return outcome{int(took.Milliseconds()), text}, nil
}

// A sleeper is a server whose handlers sleep, and that reports what they do.
type sleeper struct {
	ctx     context.Context
	run     *Run
	v       values
	running atomic.Int64
	most    atomic.Int64 // handlers that ran at once
	early   atomic.Int64 // responses that were finished and had to wait
	done    [33]atomic.Bool
}

// start starts part 3's server. stop returns when it has ended.
func (h *sleeper) start() (addr string, stop func(), err error) {
	limits := server.DefaultLimits
	limits.Driver, limits.Pipeline = drivers[h.v["driver"]], h.v["slots"]
	if err := limits.Validate(); err != nil { // loop on a system without epoll
		return "", nil, err
	}
	fd, err := socket.Listen("127.0.0.1:0", 16)
	if err != nil {
		return "", nil, err
	}
	addr = socket.LocalAddr(fd).String()
	s, err := server.New(fd, h.serve, limits, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", nil, err
	}
	ended := make(chan struct{})
	go func() { s.Serve(); close(ended) }() // stop waits for it
	return addr, func() { s.Stop(); <-ended }, nil
}

// serve is the handler: it sleeps for as long as the number in the path says.
func (h *sleeper) serve(w *server.Response, q *server.Request) {
	n, err := strconv.Atoi(strings.TrimPrefix(string(q.Path), "/"))
	if err != nil || n < 1 || n > h.v["depth"] {
		w.Error(404, "there is no request with this number")
		return
	}
	h.report(n, "running", fmt.Sprintf("its handler begins, and takes %v", h.v.handlerTime(n)))
	now := h.running.Add(1)
	for most := h.most.Load(); now > most && !h.most.CompareAndSwap(most, now); {
		most = h.most.Load()
	}
	err = sleep(h.ctx, h.v.handlerTime(n))
	h.running.Add(-1)
	if err != nil {
		w.Error(503, err.Error())
		return
	}
	h.done[n].Store(true)
	what := "is finished, and its turn has come"
	for earlier := 1; earlier < n; earlier++ {
		if !h.done[earlier].Load() {
			what = fmt.Sprintf("is finished, but waits: response %d is not", earlier)
			h.early.Add(1)
			break
		}
	}
	h.report(n, "finished", what)
	fmt.Fprintf(w, "%d\n", n)
}

func (h *sleeper) report(n int, state, what string) {
	h.run.emit(Event{Who: fmt.Sprintf("request %d", n), What: what, Lane: n, State: state})
}

// pipe sends all requests in one write and reads the responses. It returns how long that
// took.
func (h *sleeper) pipe(ctx context.Context, addr string) (time.Duration, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(socket.LongAgo) })()
	var all strings.Builder
	for n := 1; n <= h.v["depth"]; n++ {
		fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: %s\r\n\r\n", n, addr)
	}
	h.run.begin()
	for n := 1; n <= h.v["depth"]; n++ {
		h.report(n, "waiting", "is sent, in one write with the others")
	}
	if _, err := io.WriteString(c, all.String()); err != nil {
		return 0, cause(ctx, err)
	}
	in := bufio.NewReader(c)
	for n := 1; n <= h.v["depth"]; n++ {
		if err := readResponse(in, n); err != nil {
			return 0, cause(ctx, fmt.Errorf("response %d: %w", n, err))
		}
		h.report(n, "sent", "its response has arrived")
	}
	return h.run.since(), nil
}

// readResponse reads a response, which must be the one to request n.
func readResponse(in *bufio.Reader, n int) error {
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && string(body) != fmt.Sprintf("%d\n", n) {
		err = fmt.Errorf("it is %s, %q: not in the order of the requests", response.Status, body)
	}
	return err
}

// cause returns why ctx has ended if it has, otherwise err.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
