package backends

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	startTime = 10 * time.Second
	stopTime  = 3 * time.Second // from SIGTERM to SIGKILL
)

// A Process is a server's first one, and the group of those that it starts.
type Process struct {
	*exec.Cmd
	log   string // its output, a file
	ended chan struct{}
}

// begin starts a command whose output goes to a file in dir.
func begin(dir string, extra []*os.File, command ...string) (*Process, error) {
	p := &Process{Cmd: exec.Command(command[0], command[1:]...), log: filepath.Join(dir, "log"), ended: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.Dir, p.Stdout, p.Stderr, p.ExtraFiles = dir, out, out, extra
	ownGroup(p.Cmd)
	if err := p.Start(); err != nil {
		return nil, err
	}
	go func() { // until the process ends, which stop waits for
		p.Wait()
		close(p.ended)
	}()
	return p, nil
}

// Stop ends the process, if need be by force, and what it has started.
func (p *Process) Stop() { p.stop(syscall.SIGTERM) }

func (p *Process) stop(first syscall.Signal) {
	p.Process.Signal(first)
	select {
	case <-p.ended:
	case <-time.After(stopTime):
	}
	syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// awaitListening returns when something accepts connections at addr.
func (p *Process) awaitListening(addr string) error {
	for end := time.Now().Add(startTime); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("tcp4", addr); err == nil {
			return c.Close()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("it ended: %s", p.words())
		default:
		}
	}
	return fmt.Errorf("it does not listen at %s: %s", addr, p.words())
}

// words are what it printed: the first line, which says what a bad flag is, and the end.
func (p *Process) words() string {
	text, _ := os.ReadFile(p.log)
	first, rest, _ := strings.Cut(string(text), "\n")
	return first + "\n" + rest[max(0, len(rest)-1000):]
}

// Claim finds an address for a program that cannot be given a socket. Its port is one that
// the kernel gives to no client; the UDP port of that number keeps others who claim from it,
// until release.
func Claim() (addr string, release func(), err error) {
	for range 100 {
		addr := fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(22_000))
		claim, err := net.ListenPacket("udp4", addr)
		if err != nil {
			continue
		}
		if l, err := net.Listen("tcp4", addr); err == nil {
			l.Close()
			return addr, func() { claim.Close() }, nil
		}
		claim.Close()
	}
	return "", nil, errors.New("no port is free")
}

// Run starts a command in dir, which gets its log, and returns when it listens at addr.
func Run(dir, addr string, command ...string) (*Process, error) {
	if _, err := exec.LookPath(command[0]); err != nil {
		return nil, fmt.Errorf("%s: %w", command[0], ErrMissing)
	}
	p, err := begin(dir, nil, command...)
	if err != nil {
		return nil, err
	}
	if err := p.awaitListening(addr); err != nil {
		p.stop(syscall.SIGKILL)
		return nil, err
	}
	return p, nil
}

func (b *Backend) claim() error {
	addr, release, err := Claim()
	if err == nil {
		b.Addr = addr
		b.onClose(release)
	}
	return err
}
