package pool_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/pool"
)

func Example() {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	go http.Serve(server, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello\n") }))

	if err := getThreeTimes(server.Addr().String()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 200 hello
	// 200 hello
	// 200 hello
	// connections: 1
}

// getThreeTimes is the program in doc.go.
func getThreeTimes(addr string) error {
	p := pool.New(pool.DefaultLimits)
	p.StartEvictor(time.Second)
	defer p.Close()

	for range 3 {
		request := &client.Request{Method: []byte("GET"), Target: []byte("/"), Host: []byte(addr)}
		response, err := p.RoundTrip(context.Background(), addr, request, &client.DefaultTimeouts)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response)
		response.Close() // the pool gets the connection back
		if err != nil {
			return err
		}
		fmt.Printf("%d %s", response.Status, body)
	}
	fmt.Println("connections:", p.Stats().Permits)
	return nil
}
