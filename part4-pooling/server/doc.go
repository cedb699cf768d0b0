// Package server is an HTTP/1.1 server for persistent connections (RFC 9112 §9). A
// client may pipeline: send the next request before it has the response to the last
// one. Handlers of safe requests may then run in parallel, and the responses are sent in
// the order of the requests. Limits.Driver chooses how the server waits: serial.go,
// goroutines.go or loop.go. The rules are in conn.go; transport.go reads and writes the
// sockets.
//
// A program listens, serves, and stops:
//
//	fd, err := socket.Listen("127.0.0.1:0", 128)
//	if err != nil {
//		log.Fatal(err)
//	}
//	addr := socket.LocalAddr(fd).String()
//	s, err := server.New(fd, func(w *server.Response, r *server.Request) {
//		fmt.Fprintf(w, "you asked for %s\n", r.Path)
//	}, server.DefaultLimits, slog.Default())
//	if err != nil {
//		log.Fatal(err)
//	}
//	served := make(chan struct{})
//	go func() { s.Serve(); close(served) }()
//
//	fetch(addr, "/one", "/two")
//
//	s.Stop() // requests that have arrived are answered, then Serve returns
//	<-served
//
// Example (example_test.go) is this program with a client.
//
// A gateway also sets Offloader, which takes or prepares each request in order of arrival
// (offload.go), and uses the methods in proxy.go: Context, Attachment, WriteInterim,
// WriteTrailers, Complete.
//
// Two laws hold, whatever clients and handlers do:
//
//   - Order. A response is sent when all earlier responses of its connection have been
//     sent, and no byte of another one is sent in the middle of it.
//   - Bounds. Every wait ends and every buffer has a largest size (Limits). A handler that
//     panics or hangs costs its own response, and at most its own connection.
//
// A gateway also sets Server.Offloader, which may take a request in the order of arrival,
// before its handler starts (offload.go), and uses the methods in proxy.go: Context,
// Attachment, WriteInterim, WriteTrailers, Complete.
package server
