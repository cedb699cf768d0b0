// Package server answers HTTP/1.1 requests on connections that stay open. A client
// may send its next request before it has the response to the last one: handlers of
// safe requests run in parallel, and the responses leave in the order of the
// requests.
//
//	fd, err := socket.Listen("127.0.0.1:8080", 4096)
//	if err != nil {
//		return err
//	}
//	s, err := server.New(fd, func(w *server.Response, r *server.Request) {
//		w.SetPlainText()
//		fmt.Fprintf(w, "you asked for %s\n", r.Path)
//	}, server.DefaultLimits, slog.Default())
//	if err != nil {
//		return err
//	}
//	go func() {
//		<-interrupted
//		s.Stop() // what has been read is answered; then Serve returns
//	}()
//	s.Serve()
//
// Every wait and every buffer has a limit (Limits). A handler that panics or hangs
// costs its own response, and no other.
package server
