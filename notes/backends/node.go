package backends

import (
	"bytes"
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed node.js
var nodeSite string

// Node inherits the listening socket, so that its restart is a second process on the
// same socket, and SIGTERM to the first, which closes its sessions gracefully.
func (b *Backend) startNode(o Options) error {
	if _, err := exec.LookPath("node"); err != nil {
		return fmt.Errorf("node: %w", ErrMissing)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	b.onClose(func() { socket.Close() })
	b.Addr = l.Addr().String()
	root, err := b.writeFiles()
	if err != nil {
		return err
	}
	script, err := b.fill("node.js", nodeSite)
	if err != nil {
		return err
	}
	posts := filepath.Join(b.dir, "posts")
	command := []string{"node", script, root, posts, strconv.Itoa(o.Streams), strconv.Itoa(o.Requests)}
	started := 0
	start := func() (*Process, error) {
		p, err := begin(b.dir, []*os.File{socket}, command...)
		if err != nil {
			return nil, err
		}
		started++
		b.onClose(func() { p.stop(syscall.SIGKILL) })
		return p, p.awaitReady(started)
	}
	p, err := start()
	if err != nil {
		return err
	}
	b.restart = func() error {
		last := p
		if p, err = start(); err != nil {
			return err
		}
		return last.Process.Signal(syscall.SIGTERM)
	}
	b.posts = func() map[string]int {
		seen := map[string]int{}
		text, _ := os.ReadFile(posts)
		for _, id := range strings.Fields(string(text)) {
			seen[id]++
		}
		return seen
	}
	return nil
}

// awaitReady waits until n processes have said that they are.
func (p *Process) awaitReady(n int) error {
	for end := time.Now().Add(startTime); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		text, _ := os.ReadFile(p.log)
		if bytes.Count(text, []byte("ready\n")) >= n {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("it ended: %s", p.words())
		default:
		}
	}
	return fmt.Errorf("it is not ready: %s", p.words())
}
