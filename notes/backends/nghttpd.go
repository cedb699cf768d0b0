package backends

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// nghttpd serves files, and sends back what is posted anywhere. Trailers follow every body,
// after a length, so that a gateway may forward the one or the other. It cannot be asked to
// end gracefully: its restart is the end of a process, and the start of another.
func (b *Backend) startNghttpd(o Options) error {
	root, err := b.writeFiles()
	if err != nil {
		return err
	}
	if err := b.claim(); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(b.Addr)
	command := []string{"nghttpd", "--no-tls", "-a", host, "-d", root, "--echo-upload"}
	if o.Streams > 0 {
		command = append(command, "-m", strconv.Itoa(o.Streams))
	}
	if !o.Fast { // the race wants small responses: most have no trailers
		command = append(command, "-v", "--trailer", `etag: "42"`)
	}
	command = append(command, port)
	p, err := Run(b.dir, b.Addr, command...)
	if err != nil {
		return err
	}
	b.onClose(func() { p.Stop() })
	b.restart = func() (err error) {
		p.stop(syscall.SIGKILL)
		p, err = Run(b.dir, b.Addr, command...)
		return err
	}
	b.posts = b.nghttpdPosts
	return nil
}

// nghttpdPosts reads its log, where each field of each request has a line.
func (b *Backend) nghttpdPosts() map[string]int {
	posts := map[string]int{}
	text, _ := os.ReadFile(filepath.Join(b.dir, "log"))
	for line := range bytes.Lines(text) {
		if _, id, found := strings.Cut(string(line), ":path: /once/"); found {
			posts[strings.TrimSpace(id)]++
		}
	}
	return posts
}
