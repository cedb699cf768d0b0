package client_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"socketup/part4-pooling/client"
)

func Example() {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	go respondOnce(server)

	if err := get(server.Addr().String()); err != nil {
		fmt.Println(err)
	}
	// Output: 200 hello
}

// get is the program in doc.go.
func get(addr string) error {
	ctx := context.Background()
	conn, err := client.Dial(ctx, addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()

	request := &client.Request{Method: []byte("GET"), Target: []byte("/"), Host: []byte(addr)}
	response, err := conn.RoundTrip(ctx, request, &client.DefaultTimeouts, time.Time{})
	if err != nil {
		return err
	}
	body, err := io.ReadAll(response)
	response.Close() // conn can carry the next request, if the server keeps it open
	fmt.Printf("%d %s", response.Status, body)
	return err
}

// respondOnce accepts one connection and responds to one request.
func respondOnce(server net.Listener) {
	c, err := server.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
	}
}
