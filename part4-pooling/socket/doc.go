// Package socket wraps the system calls that a server or a client makes on TCP
// sockets, and knows nothing of HTTP: listening sockets, accept(2), and sockets that
// wait in Go's network poller instead of blocking a thread.
//
//	fd, err := socket.Listen("127.0.0.1:0", 128) // port 0: the kernel picks a free one
//	if err != nil {
//		return err
//	}
//	defer unix.Close(fd)
//	client, err := net.Dial("tcp", socket.LocalAddr(fd).String())
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//
//	c, _, err := socket.Accept(fd) // blocks, for PollInterval at most
//	if err != nil {
//		return err
//	}
//	conn, err := socket.NewFD(c) // owns c from now on, and blocks no thread
//	if err != nil {
//		return err
//	}
//	fmt.Fprintln(conn, "hello")
//	conn.Close()
//	_, err = io.Copy(os.Stdout, client)
//	return err
//
// A descriptor has one owner, which closes it once. The caller owns the int that
// Listen, Accept or NewSocket returns; NewFD passes it to the FD.
package socket
