package backends

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	startTime = 10 * time.Second
	stopTime  = 3 * time.Second // from SIGTERM to SIGKILL
)

// A process is a server's first one, and the group of those that it starts.
type process struct {
	*exec.Cmd
	log   string // its output, a file
	ended chan struct{}
}

// begin starts a command whose output goes to a file in dir.
func begin(dir string, extra []*os.File, command ...string) (*process, error) {
	p := &process{Cmd: exec.Command(command[0], command[1:]...), log: filepath.Join(dir, "log"), ended: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.Dir, p.Stdout, p.Stderr, p.ExtraFiles = dir, out, out, extra
	ownGroup(p.Cmd)
	if err := p.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			err = fmt.Errorf("%s: %w", command[0], ErrMissing)
		}
		return nil, err
	}
	go func() { // until the process ends, which stop waits for
		p.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop ends the process, if need be by force, and what it has started.
func (p *process) stop(first syscall.Signal) {
	p.Process.Signal(first)
	select {
	case <-p.ended:
	case <-time.After(stopTime):
	}
	syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// awaitListening returns when something accepts connections at addr.
func (p *process) awaitListening(addr string) error {
	for end := time.Now().Add(startTime); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("tcp4", addr); err == nil {
			return c.Close()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("it ended: %s", p.lastWords())
		default:
		}
	}
	return fmt.Errorf("it does not listen at %s: %s", addr, p.lastWords())
}

func (p *process) lastWords() string {
	text, _ := os.ReadFile(p.log)
	return string(text[max(0, len(text)-1000):])
}

// claim finds an address for a program that cannot be given a socket. Its port is one
// that the kernel gives to no client; the UDP port of that number keeps other tests from it.
func (b *Backend) claim() error {
	for range 100 {
		addr := fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(22_000))
		claim, err := net.ListenPacket("udp4", addr)
		if err != nil {
			continue
		}
		if l, err := net.Listen("tcp4", addr); err == nil {
			l.Close()
			b.Addr = addr
			b.onClose(func() { claim.Close() })
			return nil
		}
		claim.Close()
	}
	return errors.New("no port is free")
}

// run starts a program that listens at b.Addr, waits until it does, and has Close stop it.
func (b *Backend) run(o Options, command ...string) (*process, error) {
	if _, err := exec.LookPath(command[0]); err != nil {
		return nil, fmt.Errorf("%s: %w", command[0], ErrMissing)
	}
	p, err := begin(b.dir, nil, append(o.Prefix[:len(o.Prefix):len(o.Prefix)], command...)...)
	if err != nil {
		return nil, err
	}
	b.Pid = p.Process.Pid
	if err := p.awaitListening(b.Addr); err != nil {
		p.stop(syscall.SIGKILL)
		return nil, err
	}
	return p, nil
}
