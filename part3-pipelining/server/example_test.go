package server_test

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"

	"socketup/part3-pipelining/server"
	"socketup/part3-pipelining/socket"
)

func Example() {
	fd, err := socket.Listen("127.0.0.1:0", 128)
	if err != nil {
		log.Fatal(err)
	}
	addr := socket.LocalAddr(fd).String()
	s, err := server.New(fd, func(w *server.Response, r *server.Request) {
		fmt.Fprintf(w, "you asked for %s\n", r.Path)
	}, server.DefaultLimits, slog.Default())
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan struct{})
	go func() { s.Serve(); close(served) }()

	fetch(addr, "/one", "/two")

	s.Stop() // requests that have arrived are answered, then Serve returns
	<-served

	// Output:
	// you asked for /one
	// you asked for /two
}

// fetch pipelines a GET for each path on one connection, and prints the response bodies.
func fetch(addr string, paths ...string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for _, path := range paths {
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, addr)
	}
	in := bufio.NewReader(c)
	for range paths {
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			log.Fatal(err)
		}
		io.Copy(os.Stdout, response.Body)
	}
}
