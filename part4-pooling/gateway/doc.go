// Package gateway is a reverse proxy (RFC 9110 §3.7 calls it a gateway): a handler that
// forwards requests to backends on the connections of a pool, and their responses to
// the clients.
//
//	p := pool.New(pool.DefaultLimits)
//	defer p.Close()
//	g := gateway.New(p, []gateway.Backend{{Path: "/", Addr: backend}})
//	fd, err := socket.Listen("127.0.0.1:0", 128)
//	if err != nil {
//		log.Fatal(err)
//	}
//	noBackend := func(w *server.Response, r *server.Request) { w.Error(404, "no backend for this path") }
//	s, err := server.New(fd, g.Handler(noBackend), server.DefaultLimits, slog.Default())
//	if err != nil {
//		log.Fatal(err)
//	}
//	s.Offloader = g.OffloadOrReserve // before Serve
//	go s.Serve()
//	defer s.Stop()
//
// Two laws hold. A message is forwarded as it was understood, not as it was received:
// the gateway writes the framing, Host and the fields about the client itself, and
// refuses what the backend might read differently. And the requests of one client ask
// for connections in the order in which they arrived, or they could wait for each other
// for ever (OffloadOrReserve).
//
// StartAdmin serves counters and a way to drop connections on a second address.
package gateway
