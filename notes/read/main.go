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
	"os"
	"path/filepath"

	"socketup/notes/book"
	"socketup/notes/cli"
	"socketup/notes/lab"
)

const help = `usage: read [-root DIR] [-addr ADDRESS | -to DIR]

Makes the web book, and serves it with part 3's server until ^C.

  -root DIR
        the repository's top directory (default ..)
  -addr ADDRESS
        IP address and port to listen on; port 0 picks a free one
        (default 127.0.0.1:8080)
  -to DIR
        directory to write the book into, instead of serving it

example: read -root . -addr 127.0.0.1:0
`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes one command line and returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("read", flag.ContinueOnError)
	root := flags.String("root", "..", "")
	to := flags.String("to", "", "")
	addr := flags.String("addr", "127.0.0.1:8080", "")
	p := cli.Program{Name: "read", Help: help, Flags: flags, Action: func(operands []string) error {
		if len(operands) > 0 {
			return fmt.Errorf("%w: unexpected argument %q", cli.ErrUsage, operands[0])
		}
		files, err := site(*root, *to == "")
		if err != nil {
			return err
		}
		if *to != "" {
			return write(*to, files, stdout)
		}
		l := lab.New(*root)
		defer l.Close()
		return cli.Serve(*addr, "", l.Handler(handler(files)), l.Close, stdout, stderr)
	}}
	return p.Run(args, stdout, stderr)
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
