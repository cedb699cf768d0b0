package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	smallHead = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	// browserHead is the size of what a browser sends.
	browserHead = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
		"Accept-Language: en-US,en;q=0.9\r\nConnection: keep-alive\r\nCookie: session=0123456789abcdef\r\n\r\n"
)

// load keeps depth requests in flight on each of conns connections, and prints
// requests per second and, with -pid, the server's CPU time for each of them.
// Every answer is compared with the first one, but for its Date.
func load(args []string) error {
	f := flag.NewFlagSet("load", flag.ExitOnError)
	addr := f.String("addr", "127.0.0.1:8080", "")
	conns := f.Int("conns", 32, "connections")
	depth := f.Int("depth", 16, "requests in flight on each")
	length := f.Duration("for", time.Second, "how long")
	pid := f.String("pid", "", "the server's, to read its CPU time; several have commas between them")
	browser := f.Bool("browser", false, "with the fields that a browser sends")
	rate := f.Int("rate", 0, "requests per second on all connections together, instead of depth on each: prints the median and the 99th percentile of the response time, in nanoseconds")
	f.Parse(args)
	head := smallHead
	if *browser {
		head = browserHead
	}
	if *rate > 0 {
		*depth = 1
	}
	g := generator{batch: bytes.Repeat([]byte(head), *depth), depth: *depth, conns: map[int]*client{}}
	if err := g.connect(*addr, *conns, head); err != nil {
		return err
	}
	if *rate > 0 {
		took, err := g.pace(*rate, *length)
		if err == nil {
			fmt.Printf("%d %d\n", took[len(took)/2], took[len(took)*99/100])
		}
		return err
	}
	cpu, begin := cpuTime(*pid), time.Now()
	if err := g.run(*length); err != nil {
		return err
	}
	took := time.Since(begin)
	perRequest := float64(cpuTime(*pid)-cpu) / float64(g.answered)
	fmt.Printf("%.0f %.0f\n", float64(g.answered)/took.Seconds(), perRequest)
	return nil
}

type generator struct {
	poll     *poll
	batch    []byte
	depth    int
	answer   []byte // one of them
	conns    map[int]*client
	answered int
}

type client struct {
	want int // bytes of answers that are still to come
}

// connect opens the connections and makes one request on each.
func (g *generator) connect(addr string, n int, head string) error {
	sa, err := sockaddr(addr)
	if err != nil {
		return err
	}
	if g.poll, err = newPoll(); err != nil {
		return err
	}
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, sa); err != nil {
			return fmt.Errorf("connect %s: %w", addr, err)
		}
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // RST at the end: no TIME_WAIT uses up the ports
		unix.Write(fd, []byte(head))
		if g.answer, err = readAnswer(fd); err != nil {
			return err
		}
		unix.SetNonblock(fd, true)
		g.conns[fd] = &client{}
		if err := g.poll.add(fd, unix.EPOLLIN|unix.EPOLLET); err != nil {
			return err
		}
	}
	return nil
}

// readAnswer reads one whole answer.
func readAnswer(fd int) ([]byte, error) {
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.HasSuffix(got, []byte(helloWorld)) {
		n, err := unix.Read(fd, buf)
		if n <= 0 {
			return nil, fmt.Errorf("no answer: %q, %v", got, err)
		}
		got = append(got, buf[:n]...)
	}
	return got, nil
}

func (g *generator) run(length time.Duration) error {
	for fd, c := range g.conns {
		g.send(fd, c)
	}
	buf := make([]byte, 256<<10)
	for end := time.Now().Add(length); time.Now().Before(end); {
		for _, e := range g.poll.wait(100) {
			fd := int(e.Fd)
			if err := g.receive(fd, g.conns[fd], buf); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *generator) send(fd int, c *client) {
	c.want = g.depth * len(g.answer)
	rawWrite(fd, g.batch)
}

func (g *generator) receive(fd int, c *client, buf []byte) error {
	n, errno := rawRead(fd, buf)
	if errno == unix.EAGAIN {
		return nil
	}
	if errno != 0 || n == 0 {
		return fmt.Errorf("the server closed: %v", errno)
	}
	if n > c.want {
		return fmt.Errorf("%d bytes more than was asked for", n-c.want)
	}
	total := g.depth * len(g.answer)
	if c.want == total && n >= len(g.answer) && !same(buf[:len(g.answer)], g.answer) {
		return fmt.Errorf("a wrong answer: %q", buf[:len(g.answer)])
	}
	if c.want -= n; c.want == 0 {
		if end := helloWorld[max(0, len(helloWorld)-n):]; !bytes.HasSuffix(buf[:n], []byte(end)) {
			return errors.New("the last answer has a wrong end")
		}
		g.answered += g.depth
		g.send(fd, c)
	}
	return nil
}

// same compares two answers but for the value of Date.
func same(a, b []byte) bool {
	d := bytes.Index(bytes.ToLower(a), []byte("date: "))
	if d < 0 {
		return bytes.Equal(a, b)
	}
	e := d + len("Date: Thu, 01 Jan 1970 00:00:00 GMT")
	return bytes.Equal(a[:d], b[:d]) && bytes.Equal(a[e:], b[e:])
}

// cpuTime is what all threads of some processes have run for, in nanoseconds.
func cpuTime(pids string) (total int64) {
	for pid := range strings.SplitSeq(pids, ",") {
		files, _ := filepath.Glob("/proc/" + pid + "/task/*/schedstat")
		for _, file := range files {
			text, _ := os.ReadFile(file)
			var ran int64
			fmt.Sscan(strings.Fields(string(text) + " 0")[0], &ran)
			total += ran
		}
	}
	return total
}
