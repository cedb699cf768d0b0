// Program read makes the web book, and serves it with part 3's server package:
//
//	go -C notes run ./read                      http://127.0.0.1:8080 leads to the book
//	go -C notes run ./read -to ../bin/book      write it into a directory instead
package main

import (
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"socketup/notes/book"
	"socketup/notes/lab"
	"socketup/part3-pipelining/server"
	"socketup/part3-pipelining/socket"
)

const (
	backlog = 128             // connections; a reader has one browser
	grace   = 5 * time.Second // for responses that are being sent when the program is told to stop
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes one command line and returns the exit status: 0 on success, 1 when
// something failed, 2 for a usage error.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("read", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", "..", "the repository's top `directory`")
	to := flags.String("to", "", "`directory` to write the book into, instead of serving it")
	addr := flags.String("addr", "127.0.0.1:8080", "IP `address` and port to listen on; port 0 picks a free one")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "usage: read [-root DIR] [-addr ADDRESS | -to DIR]")
		return 2
	}
	files, err := site(*root, *to == "")
	if err == nil && *to != "" {
		err = write(*to, files, stdout)
	} else if err == nil {
		l := lab.New(*root)
		defer l.Close()
		err = serve(*addr, l.Handler(handler(files)), l.Close, stdout, slog.New(slog.NewTextHandler(stderr, nil)))
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// site makes the book of the repository at root.
func site(root string, served bool) (map[string][]byte, error) {
	b, err := book.Load(root)
	if err != nil {
		return nil, err
	}
	page := book.Extra{Name: "lab.html", Title: "The lab", Head: lab.Head, Body: template.HTML(lab.Fragment())}
	files, err := b.Site(book.Options{Served: served, More: []book.Extra{page}})
	if err != nil {
		return nil, err
	}
	files["lab.css"], files["lab.js"] = []byte(lab.CSS), []byte(lab.JS)
	return files, nil
}

// write puts the files into dir. What else is in it stays.
func write(dir string, files map[string][]byte, stdout io.Writer) error {
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, text, 0o644)); err != nil {
			return err
		}
	}
	at, err := filepath.Abs(filepath.Join(dir, "index.html"))
	fmt.Fprintf(stdout, "the book is in file://%s\n", filepath.ToSlash(at))
	return err
}

// serve calls h for each request, until SIGINT or SIGTERM. Then it calls finish, which
// ends what h would wait for.
func serve(addr string, h server.Handler, finish func(), stdout io.Writer, log *slog.Logger) error {
	fd, err := socket.Listen(addr, backlog)
	if err != nil {
		return err
	}
	s, err := server.New(fd, h, server.DefaultLimits, log)
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	fmt.Fprintf(stdout, "listening on http://%s\n", socket.LocalAddr(fd))
	done := make(chan struct{})
	go func() { s.Serve(); close(done) }() // serve waits for it, within grace

	select {
	case <-done:
		return nil
	case <-signals:
	}
	finish()
	s.Stop()
	select {
	case <-done:
		return nil
	case <-signals:
		return errors.New("stopped immediately by a second signal")
	case <-time.After(grace):
		return fmt.Errorf("a response was not read within %v", grace)
	}
}
