package gateway_test

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"socketup/part4-pooling/gateway"
	"socketup/part4-pooling/pool"
	"socketup/part4-pooling/server"
	"socketup/part4-pooling/socket"
)

func Example() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s came through %s\n", r.URL.Path, r.Header.Get("Via"))
	}))
	defer origin.Close()
	backend := origin.Listener.Addr().String()

	p := pool.New(pool.DefaultLimits)
	defer p.Close()
	g := gateway.New(p, []gateway.Backend{{Path: "/", Addr: backend}})
	fd, err := socket.Listen("127.0.0.1:0", 128)
	if err != nil {
		log.Fatal(err)
	}
	noBackend := func(w *server.Response, r *server.Request) { w.Error(404, "no backend for this path") }
	s, err := server.New(fd, g.Handler(noBackend), server.DefaultLimits, slog.Default())
	if err != nil {
		log.Fatal(err)
	}
	s.Offloader = g.OffloadOrReserve // before Serve
	go s.Serve()
	defer s.Stop()

	response, err := http.Get("http://" + socket.LocalAddr(fd).String() + "/hello")
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	fmt.Printf("%s", body)

	// Output:
	// /hello came through 1.1 socketup
}
