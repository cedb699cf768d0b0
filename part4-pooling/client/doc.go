// Package client is one connection to an HTTP/1.1 server, seen from the client: it
// connects, sends a request, and reads the response piece by piece (RFC 9110, RFC
// 9112).
//
//	ctx := context.Background()
//	conn, err := client.Dial(ctx, addr, time.Second)
//	if err != nil {
//		return err
//	}
//	defer conn.Close()
//
//	request := &client.Request{Method: []byte("GET"), Target: []byte("/"), Host: []byte(addr)}
//	response, err := conn.RoundTrip(ctx, request, &client.DefaultTimeouts, time.Time{})
//	if err != nil {
//		return err
//	}
//	body, err := io.ReadAll(response)
//	response.Close() // conn can carry the next request, if the server keeps it open
//	fmt.Printf("%d %s", response.Status, body)
//	return err
//
// Two laws hold in every file:
//
//   - A connection is reused only after a response that ended where it said it would,
//     with no byte after it. Otherwise one client reads another client's response.
//   - Every wait, to send or to receive, ends with a timeout or the context, and every
//     timeout has its own error.
//
// Which connection a request gets is the pool's decision: see package pool.
package client
