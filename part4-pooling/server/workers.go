//go:build linux

package server

import "sync"

// A workerPool runs functions as go does, on goroutines that wait for the next
// function when one has returned.
//
// A gateway's handler always waits for somebody, so with each request one
// goroutine goes on to read and another one ends (leadertoken.go). Its successor
// would begin with a stack of 2 KiB and outgrow it before it has called the
// backend: that was a sixth of all that the gateway did. One that stays has a
// stack which is large enough.
type workerPool struct {
	mu   sync.Mutex
	idle []chan func() // each has a goroutine at its end; the last was busy last
}

const maxIdleWorkers = 64 // goroutines with nothing to do, some 4 KiB each; they stay until the process ends

var followers workerPool

// run calls f on a goroutine of its own, and does not wait for it.
func (w *workerPool) run(f func()) {
	w.mu.Lock()
	last := len(w.idle) - 1
	if last < 0 {
		w.mu.Unlock()
		go w.work(f) // until there are idle ones enough
		return
	}
	next := w.idle[last]
	w.idle = w.idle[:last]
	w.mu.Unlock()
	next <- f
}

func (w *workerPool) work(f func()) {
	next := make(chan func(), 1) // room for one: run does not wait
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
