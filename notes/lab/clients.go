package lab

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/socket"
)

// A burst is the clients of the backlog experiment. One goroutine has all their sockets,
// which are non-blocking, and waits for them in poll(2): it also sees each SYN that the
// kernel sends again, and each change of the server's accept queue.
type burst struct {
	run      *Run
	addr     netip.AddrPort
	places   int           // in the server's accept queue
	interval time.Duration // between two clients
	timeout  time.Duration // for the handshake; 0: as long as the kernel tries
	clients  []*caller
	waiting  int // in the accept queue, as last reported
}

// A caller is one client.
type caller struct {
	number      int
	fd          int // -1 when closed
	state       string
	syns        int           // sent
	came        time.Duration // since the run began, like the others
	connectedAt time.Duration // 0: not yet
	answeredAt  time.Duration
	response    []byte
}

// The states of a caller, as the page shows them.
const (
	connecting = "connecting" // its SYN has no reply yet
	inQueue    = "in-queue"   // connected; it has sent its request
	answered   = "answered"
	gaveUp     = "gave-up"
)

// tick is how often a burst looks at timeouts, retransmissions and the queue.
const tick = 5 * time.Millisecond

// play connects n clients, and returns when each has been answered or has given up, or
// ctx ends; then with its cause.
func (b *burst) play(ctx context.Context, n int) error {
	began := time.Now()
	for len(b.clients) < n || b.unfinished() > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for len(b.clients) < n && time.Since(began) >= time.Duration(len(b.clients))*b.interval {
			if err := b.connect(); err != nil {
				return err
			}
		}
		if err := b.wait(); err != nil {
			return err
		}
		b.watch()
	}
	b.watch()
	return nil
}

func (b *burst) unfinished() (n int) {
	for _, c := range b.clients {
		if c.fd >= 0 {
			n++
		}
	}
	return n
}

// connect starts the next client's handshake.
func (b *burst) connect() error {
	fd, err := socket.NewSocket(unix.AF_INET)
	if err != nil {
		return err
	}
	c := &caller{number: len(b.clients) + 1, fd: fd, state: connecting, syns: 1, came: b.run.since()}
	b.clients = append(b.clients, c)
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	b.report(c, "sends its SYN")
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: b.addr.Addr().As4(), Port: int(b.addr.Port())})
	if err != nil && err != unix.EINPROGRESS {
		return fmt.Errorf("client %d: connect %v: %w", c.number, b.addr, err)
	}
	return nil
}

// wait waits for a tick at most, and serves the clients whose sockets are ready.
func (b *burst) wait() error {
	var polled []unix.PollFd
	var callers []*caller
	for _, c := range b.clients {
		if c.fd < 0 {
			continue
		}
		events := int16(unix.POLLIN)
		if c.state == connecting {
			events = unix.POLLOUT
		}
		polled, callers = append(polled, unix.PollFd{Fd: int32(c.fd), Events: events}), append(callers, c)
	}
	if _, err := unix.Poll(polled, int(tick/time.Millisecond)); err != nil && err != unix.EINTR {
		return err
	}
	for i, p := range polled {
		if p.Revents == 0 {
			continue
		}
		if callers[i].state == connecting {
			b.connected(callers[i])
		} else {
			b.read(callers[i])
		}
	}
	return nil
}

const request = "GET / HTTP/1.1\r\nHost: socket.up\r\nConnection: close\r\n\r\n"

// connected ends c's handshake, and sends its request.
func (b *burst) connected(c *caller) {
	if errno, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || errno != 0 {
		b.giveUp(c, "gives up: connect: "+unix.Errno(errno).Error())
		return
	}
	c.syns = 1 + retransmits(c.fd)
	c.connectedAt, c.state = b.run.since(), inQueue
	b.report(c, "is connected after "+plural(c.syns, "SYN", "SYNs"))
	if _, err := unix.Write(c.fd, []byte(request)); err != nil {
		b.giveUp(c, "gives up: write: "+err.Error())
	}
}

// read reads c's response, which ends with the connection.
func (b *burst) read(c *caller) {
	buf := make([]byte, 4<<10)
	n, err := unix.Read(c.fd, buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil:
		b.giveUp(c, "reads an error: "+err.Error())
	case n > 0:
		c.response = append(c.response, buf[:n]...)
	case !bytes.HasPrefix(c.response, []byte("HTTP/1.1 200 ")):
		b.giveUp(c, "reads the end, and no response")
	default:
		c.answeredAt, c.state = b.run.since(), answered
		b.report(c, "has its response")
		c.close()
	}
}

func (b *burst) giveUp(c *caller, why string) {
	c.state = gaveUp
	b.report(c, why)
	c.close()
}

// watch reports SYNs that were sent again, clients whose time is over, and the queue.
func (b *burst) watch() {
	for _, c := range b.clients {
		if c.fd < 0 || c.state != connecting {
			continue
		}
		if n := 1 + retransmits(c.fd); n > c.syns {
			c.syns = n
			b.report(c, "has no reply: its kernel sends SYN number "+fmt.Sprint(n))
		}
		if b.timeout > 0 && b.run.since()-c.came >= b.timeout {
			b.giveUp(c, fmt.Sprintf("gives up: no connection within %v", b.timeout))
		}
	}
	n, ok := queueLength(b.addr)
	if !ok || n == b.waiting {
		return
	}
	b.waiting = n
	what := fmt.Sprintf("%d of %d places taken", n, b.places)
	if n >= b.places {
		what += ", FULL"
	}
	b.run.emit(Event{Who: "accept queue", What: what, Count: &Counts{Waiting: n, Places: b.places}})
}

func (b *burst) report(c *caller, what string) {
	b.run.emit(Event{Who: fmt.Sprintf("client %d", c.number), What: what, Lane: c.number, State: c.state, Count: &Counts{SYNs: c.syns}})
}

// close closes what is still open.
func (b *burst) close() {
	for _, c := range b.clients {
		c.close()
	}
}

func (c *caller) close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}
