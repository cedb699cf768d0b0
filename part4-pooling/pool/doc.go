// Package pool keeps connections to HTTP/1.1 servers for the next request, and
// bounds how many there are.
//
//	p := pool.New(pool.DefaultLimits)
//	p.StartEvictor(time.Second)
//	defer p.Close()
//
//	for range 3 {
//		request := &client.Request{Method: []byte("GET"), Target: []byte("/"), Host: []byte(addr)}
//		response, err := p.RoundTrip(context.Background(), addr, request, &client.DefaultTimeouts)
//		if err != nil {
//			return err
//		}
//		body, err := io.ReadAll(response)
//		response.Close() // the pool gets the connection back
//		if err != nil {
//			return err
//		}
//		fmt.Printf("%d %s", response.Status, body)
//	}
//	fmt.Println("connections:", p.Stats().Permits)
//
// Two laws hold after every step, and the tests check them in every order of
// events:
//
//   - Each connection, leased, idle or being dialled, has one permit, and the
//     permits in use never exceed the limits.
//   - No caller waits while it may have an idle connection or a free permit. A client
//     may take one only if it leaves at least as many as it then has (share.go), and its
//     requests get theirs in the order of arrival (line.go). Of the callers that may
//     take one, the caller that has waited longest is served first.
//
// A caller that must keep an order, such as a gateway, splits RoundTrip in two: Reserve,
// which never waits, takes a connection, a permit or a place in the queue; Claim, or
// RoundTripReserved, waits, checks and dials. Get is both. The states of a connection are
// drawn at Pool.
//
// A lease has one holder. The pool never closes a leased connection, and hands out
// an idle one only after it has passed a check (client.Conn.CheckIdle).
package pool
