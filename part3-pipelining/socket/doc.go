// Package socket has the system calls that a server needs, and nothing of HTTP: a
// listening socket, accept(2), and sockets that wait in Go's poller instead of
// blocking a thread.
//
//	fd, err := socket.Listen("127.0.0.1:0", 128)
//	if err != nil {
//		return err
//	}
//	fmt.Println("listening on", socket.LocalAddr(fd))
//	listener, err := socket.NewFD(fd) // owns fd from now on
package socket
