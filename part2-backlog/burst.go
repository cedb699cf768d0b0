package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A client connects, sends a request, and reads until the server closes. It has
// separate timeouts for the handshake and for the response: a client in the accept
// queue is already connected, and no connect timeout can end its wait.
type client struct {
	number          int // 1 is the first
	addr            string
	connectTimeout  time.Duration // 0: until the kernel gives up, after two minutes
	responseTimeout time.Duration // from the request to the end of the response
	onEvent         func(at time.Time, what, to string)
}

// An outcome is what became of one client.
type outcome struct {
	Client     int     `json:"client"`
	ArrivedMS  float64 `json:"came_ms"`             // since the first client connected
	ConnectMS  float64 `json:"connect_ms"`          // from the first SYN until the handshake was complete or had failed
	ResponseMS float64 `json:"answer_ms,omitempty"` // from the first SYN to the end of the response; 0 if none came
	SYNs       int     `json:"syns"`                // sent; 0 if the system does not say
	Status     string  `json:"status,omitempty"`
	Error      string  `json:"error,omitempty"`
	err        error
}

const request = "GET / HTTP/1.1\r\nHost: socket.up\r\nConnection: close\r\n\r\n"

// requestOnce sends one request and returns its outcome. It calls begun when the SYN
// has been sent, so that the next client's SYN follows this one's.
func (c client) requestOnce(ctx context.Context, begun func()) (v outcome) {
	began := time.Now()
	v.Client = c.number
	defer func() {
		if v.err != nil {
			v.Error = v.err.Error()
		} else {
			v.ResponseMS = milliseconds(time.Since(began))
		}
	}()
	begun = sync.OnceFunc(begun)
	defer begun() // for the case that no SYN could be sent
	fd, err := dialEach(ctx, defaultResolver, c.addr, c.connectTimeout, func(ctx context.Context, addr string, timeout time.Duration) (int, error) {
		return c.connect(ctx, addr, timeout, begun, &v)
	})
	v.ConnectMS = milliseconds(time.Since(began))
	if err != nil {
		v.err = err
		return v
	}
	defer unix.Close(fd)
	if v.SYNs > 0 {
		c.report("is connected after "+plural(v.SYNs, "SYN"), "")
	} else {
		c.report("is connected", "")
	}
	v.Status, v.err = c.sendRequest(ctx, fd)
	return v
}

// connect opens a connection to addr, an IP address and a port, and counts the SYNs in
// v. The caller owns the descriptor.
func (c client) connect(ctx context.Context, addr string, timeout time.Duration, begun func(), v *outcome) (int, error) {
	c.report("connects", "")
	fd, err := startConnect(addr)
	if err != nil {
		return -1, err
	}
	begun()
	stop := c.watchRetransmits(fd)
	err = finishConnect(ctx, fd, timeout)
	stop()
	if h := readSYNState(fd); h.known {
		v.SYNs += 1 + h.retransmits
	}
	if err != nil {
		unix.Close(fd)
		c.report("gives up: connect "+err.Error(), "")
		return -1, fmt.Errorf("connect %s: %w", addr, err)
	}
	return fd, nil
}

// sendRequest sends the request and reads the response. The write cannot be short: the
// empty send buffer of a new connection has room for so few bytes.
func (c client) sendRequest(ctx context.Context, fd int) (status string, err error) {
	if _, err := unix.Write(fd, []byte(request)); err != nil {
		return "", fmt.Errorf("write: %w", err)
	}
	return c.readResponse(ctx, fd)
}

// readResponse reads a response to its end and returns its status.
func (c client) readResponse(ctx context.Context, fd int) (status string, err error) {
	until := time.Now().Add(c.responseTimeout)
	var answer []byte
	for buf := make([]byte, 4<<10); ; {
		if err := waitReady(ctx, fd, unix.POLLIN, until); errors.Is(err, os.ErrDeadlineExceeded) {
			c.report(fmt.Sprintf("gives up: no response within %v", c.responseTimeout), "")
			return "", fmt.Errorf("no response within %v", c.responseTimeout)
		} else if err != nil {
			return "", err
		}
		n, err := unix.Read(fd, buf)
		if n == 0 {
			break
		} else if err != nil && !isRetryable(err) {
			c.report("reads an error: "+err.Error(), "")
			return "", fmt.Errorf("read: %w", err)
		}
		answer = append(answer, buf[:max(n, 0)]...)
	}
	status, found := strings.CutPrefix(firstLine(answer), "HTTP/1.1 ")
	if !found {
		return "", fmt.Errorf("the response is not HTTP/1.1: %q", firstLine(answer))
	}
	c.report("has its answer: "+status, "")
	return status, nil
}

func (c client) report(what, to string) {
	if c.onEvent != nil {
		c.onEvent(time.Now(), what, to)
	}
}

// watchRetransmits reports every retransmission of the SYN, until stop is called. stop
// waits for the goroutine, which may use fd until then.
func (c client) watchRetransmits(fd int) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() { // stop waits for it
		defer close(done)
		for seen := 0; c.onEvent != nil; {
			select {
			case <-quit:
				return
			case <-time.After(time.Millisecond):
			}
			if h := readSYNState(fd); h.unanswered && h.retransmits > seen {
				seen = h.retransmits
				c.report("has no reply: its kernel sends the SYN again", "")
			}
		}
	}()
	return func() { close(quit); <-done }
}

// A burst is a number of clients that connect one after another, whether or not the
// earlier ones have been served.
type burst struct {
	client
	clients  int
	interval time.Duration
}

// run starts the clients, and calls done with the outcome of each as it finishes, one
// call at a time. It returns when all have finished.
func (b burst) run(ctx context.Context, done func(outcome)) {
	var all sync.WaitGroup
	var mu sync.Mutex // serializes the calls of done
	began := time.Now()
	for i := range b.clients {
		if i > 0 && !sleepContext(ctx, b.interval) {
			break
		}
		c, came, begun := b.client, time.Since(began), make(chan struct{})
		c.number = i + 1
		all.Go(func() {
			v := c.requestOnce(ctx, func() { close(begun) })
			v.ArrivedMS = milliseconds(came)
			mu.Lock()
			defer mu.Unlock()
			done(v)
		})
		<-begun
	}
	all.Wait()
}

// line renders an outcome as one line for w, or two if it is long.
func (v outcome) line(w io.Writer) string {
	begin, syns := fmt.Sprintf("client %-3d came at %7.3f s  ", v.Client, v.ArrivedMS/1e3), ""
	if v.SYNs > 0 {
		syns = ", " + plural(v.SYNs, "SYN")
	}
	rest, color := v.Error+syns, red
	if v.err == nil {
		rest, color = fmt.Sprintf("connected in %.3f ms%s  %s after %.3f s", v.ConnectMS, syns, v.Status, v.ResponseMS/1e3), 0
	}
	indent := strings.Repeat(" ", len(begin))
	return begin + paint(w, color, wrap(indent+rest, indent)[len(begin):])
}

func burstVerb(flags *flag.FlagSet, stdout io.Writer) func(context.Context) error {
	addr := flags.String("addr", "127.0.0.1:8080", "`address` of the server: IP address or name, and port")
	n := countFlag(flags, "n", 3, 1, 1000, "how many clients there are")
	every := durationFlag(flags, "every", 500*time.Millisecond, 0, "how long after one client the next follows")
	connectTimeout := durationFlag(flags, "connect-timeout", time.Second, 0, "how long the handshake may take; 0 leaves it to the kernel, which gives up after two minutes")
	timeout := durationFlag(flags, "timeout", 20*time.Second, time.Millisecond, "how long the response may take")
	asJSON := flags.Bool("json", false, "print a line of JSON for each client")
	return func(ctx context.Context) error {
		if _, _, err := splitHostPort(*addr); err != nil {
			return fmt.Errorf("burst %w: %w", errUsage, err)
		}
		b := burst{client{addr: *addr, connectTimeout: *connectTimeout, responseTimeout: *timeout}, *n, *every}
		if !*asJSON {
			fmt.Fprintln(stdout, wrap(fmt.Sprintf("%s to %s, one every %v; connect timeout %v, then %v for the response",
				plural(*n, "client"), *addr, *every, durationOrNone(*connectTimeout), *timeout), "  "))
		}
		answered, refused := 0, 0
		b.run(ctx, func(v outcome) {
			if v.err == nil {
				answered++
			} else if errors.Is(v.err, ErrRefused) {
				refused++
			}
			if line, _ := json.Marshal(v); *asJSON {
				fmt.Fprintf(stdout, "%s\n", line)
			} else {
				fmt.Fprintln(stdout, v.line(stdout))
			}
		})
		if refused == *n {
			return fmt.Errorf("no process listens on %s: in another terminal, go run ./part2-backlog -backlog 0 -delay 5s -watch", *addr)
		}
		if !*asJSON {
			fmt.Fprintf(stdout, "%d of %d answered\n", answered, *n)
		}
		if answered == 0 && ctx.Err() == nil {
			return errors.New("no client was answered")
		}
		return ctx.Err()
	}
}
