package socket_test

import (
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"socketup/part3-pipelining/socket"
)

func Example() {
	if err := greet(); err != nil {
		fmt.Println(err)
	}
	// Output: hello
}

// greet sends a line through a connection of its own: the program of the package
// comment.
func greet() error {
	fd, err := socket.Listen("127.0.0.1:0", 128) // port 0: the kernel picks a free one
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	client, err := net.Dial("tcp", socket.LocalAddr(fd).String())
	if err != nil {
		return err
	}
	defer client.Close()

	c, _, err := socket.Accept(fd) // blocks, for PollInterval at most
	if err != nil {
		return err
	}
	conn, err := socket.NewFD(c) // owns c from now on, and blocks no thread
	if err != nil {
		return err
	}
	fmt.Fprintln(conn, "hello")
	conn.Close()
	_, err = io.Copy(os.Stdout, client)
	return err
}
