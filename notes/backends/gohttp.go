package backends

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// The Go backend runs in this process. Its restart is a new server on the same socket,
// and Shutdown of the old one.
func (b *Backend) startGo(o Options) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	b.Addr = l.Addr().String()
	b.onClose(func() { l.Close() })
	b.site = newSite()
	b.posts = b.site.seen
	handler := leaveAfter(o.Requests, b.site.handler())

	serve := func() (*http.Server, error) {
		own, err := again(l)
		if err != nil {
			return nil, err
		}
		server := &http.Server{Handler: handler, Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: o.Streams}}
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetUnencryptedHTTP2(true)
		go server.Serve(own) // until Shutdown or Close
		return server, nil
	}
	server, err := serve()
	if err != nil {
		return err
	}
	var old sync.WaitGroup
	b.restart = func() error {
		last := server
		if server, err = serve(); err != nil {
			return err
		}
		old.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), stopTime)
			defer cancel()
			last.Shutdown(ctx)
			last.Close()
		})
		return nil
	}
	b.onClose(func() {
		server.Close()
		old.Wait()
	})
	return nil
}

// again returns another listener on l's socket, so that one can be closed and the queue of
// the socket is served by the other.
func again(l net.Listener) (net.Listener, error) {
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return net.FileListener(file)
}

// leaveAfter ends a connection with GOAWAY at every nth request, as Connection: close
// makes net/http do.
func leaveAfter(n int, next http.Handler) http.Handler {
	if n == 0 {
		return next
	}
	var count atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if count.Add(1)%int64(n) == 0 {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
