//go:build linux

package server

import "sync"

// A workerPool runs functions as a go statement does, but reuses goroutines: each waits
// for the next function when one has returned.
//
// A gateway's handler always waits for a backend, so with each request a follower starts
// to lead and the old leader ends (leadertoken.go). A new goroutine begins with a stack of
// 2 KiB, and the runtime has to grow it before the request reaches the backend: that took
// a sixth of the gateway's CPU time. A goroutine that is reused has a stack that is large
// enough.
type workerPool struct {
	mu   sync.Mutex
	idle []chan func() // one for each idle goroutine; the most recently busy is last
}

const maxIdleWorkers = 64 // goroutines, each with a stack of some 4 KiB; they live as long as the process

var followers workerPool

// run calls f on an idle or a new goroutine, and does not wait for it.
func (w *workerPool) run(f func()) {
	w.mu.Lock()
	last := len(w.idle) - 1
	if last < 0 {
		w.mu.Unlock()
		go w.work(f) // ends when maxIdleWorkers others are idle
		return
	}
	next := w.idle[last]
	w.idle = w.idle[:last]
	w.mu.Unlock()
	next <- f
}

func (w *workerPool) work(f func()) {
	next := make(chan func(), 1) // room for one, so that run does not block
	for ; ; f = <-next {
		f()
		w.mu.Lock()
		if len(w.idle) == maxIdleWorkers {
			w.mu.Unlock()
			return
		}
		w.idle = append(w.idle, next)
		w.mu.Unlock()
	}
}
