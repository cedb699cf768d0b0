package lab

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"socketup/part4-pooling/client"
	"socketup/part4-pooling/pool"
)

// A keeper keeps connections to one backend for its callers.
type keeper interface {
	fill(ctx context.Context, n int) error // opens n connections, and sends a request on each
	call(ctx context.Context) error        // sends a request on a kept connection if there is one; any goroutine may call it
	drop()
	counts() Counts
	close() // when no call is in progress
}

func newKeeper(addr string, policy, size int) keeper {
	if policy == unchecked {
		return &bareKeeper{addr: addr, kept: make(chan *client.Conn, size)}
	}
	method := "POST"
	if policy == retrying {
		method = "PUT"
	}
	return &pooledKeeper{pool.New(poolLimits(size)), addr, method}
}

// A pooledKeeper is part 4's pool.
type pooledKeeper struct {
	pool         *pool.Pool
	addr, method string
}

func (k *pooledKeeper) fill(ctx context.Context, n int) error {
	var all []*client.Response // closed at the end, so that each has a connection of its own
	defer func() {
		for _, a := range all {
			a.Close()
		}
	}()
	for range n {
		a, err := k.pool.RoundTrip(ctx, k.addr, newRequest("GET"), &client.DefaultTimeouts)
		if err != nil {
			return err
		}
		all = append(all, a)
	}
	return nil
}

func (k *pooledKeeper) call(ctx context.Context) error {
	a, err := k.pool.RoundTrip(ctx, k.addr, newRequest(k.method), &client.DefaultTimeouts)
	if err != nil {
		return err
	}
	defer a.Close()
	return readAll(a)
}

func (k *pooledKeeper) drop() { k.pool.DropAll(k.addr) }

func (k *pooledKeeper) counts() Counts {
	s := k.pool.Stats().Backend(k.addr)
	return Counts{Leased: s.Leased, Idle: s.Idle, Waiting: s.Waiting, Dialled: int(s.Dialled)}
}

func (k *pooledKeeper) close() { k.pool.Close() }

// A bareKeeper is what many programs begin with: a list of connections, none of which is
// checked before it is used again.
type bareKeeper struct {
	addr                     string
	kept                     chan *client.Conn // nil: the place of a connection that failed
	leased, waiting, dialled atomic.Int64
	open                     atomic.Int64 // connections, leased or kept
}

func (k *bareKeeper) fill(ctx context.Context, n int) error {
	for range n {
		k.kept <- nil
	}
	for range n {
		if err := k.send(ctx, "GET"); err != nil { // the channel is a queue: each has its turn
			return err
		}
	}
	return nil
}

func (k *bareKeeper) call(ctx context.Context) error { return k.send(ctx, "POST") }

func (k *bareKeeper) send(ctx context.Context, method string) (err error) {
	k.waiting.Add(1)
	l := <-k.kept
	k.waiting.Add(-1)
	k.leased.Add(1)
	defer func() {
		if l == nil {
			k.open.Add(-1)
		}
		k.leased.Add(-1)
		k.kept <- l
	}()
	if l == nil {
		k.open.Add(1)
		if l, err = client.DialIP(ctx, k.addr, client.DefaultTimeouts.Connect); err != nil {
			l = nil
			return err
		}
		k.dialled.Add(1)
	}
	a, err := l.RoundTrip(ctx, newRequest(method), &client.DefaultTimeouts, time.Time{})
	if err != nil {
		l.Close()
		l = nil
		return err
	}
	err = readAll(a)
	a.Close() // l is closed if the response was not complete
	if err != nil {
		l = nil
	}
	return err
}

func (k *bareKeeper) drop() {}

func (k *bareKeeper) counts() Counts {
	return Counts{Leased: int(k.leased.Load()), Idle: int(max(0, k.open.Load()-k.leased.Load())), Waiting: int(k.waiting.Load()), Dialled: int(k.dialled.Load())}
}

func (k *bareKeeper) close() {
	for range len(k.kept) {
		if l := <-k.kept; l != nil {
			l.Close()
		}
	}
}

func newRequest(method string) *client.Request {
	q := &client.Request{Method: []byte(method), Target: []byte("/"), Host: []byte("socket.up")}
	if client.MethodExpectsBody(q.Method) {
		q.Body = []byte("Hello, World!\n")
	}
	return q
}

// readAll reads a response to its end.
func readAll(a *client.Response) error {
	for {
		if _, err := a.Next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
