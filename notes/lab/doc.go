// Package lab is a page of experiments on the reader's own kernel: how a server closes
// a connection, the accept queue, a pipeline, and a pool whose backend is paused.
//
// The page is served with part 3's server package, used as a library, and each run is
// streamed to it as text/event-stream. Where a part has a program that can play its
// side of an experiment, that program runs: part 2's server, part 4's backend. The
// pipeline is part 3's server package, and the pool is part 4's.
//
//	l := lab.New("..")           // the top of the repository
//	defer l.Close()              // ends a run that is in progress
//	handler := l.Handler(others) // others gets the requests that are not the lab's
//
// One law: at most one run is in progress. It has at most 200 clients, takes at most
// MaxTime, and has ended all that it started, processes, connections and goroutines,
// before the next one begins.
package lab
