package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// watchInterval is how often the gauge looks. The queue costs a microsecond, the
// counters some 200, and so they are read when the queue is full and every tenth
// time. The server's goroutine is not asked.
const watchInterval = 200 * time.Millisecond

// A gauge shows a listening socket's accept queue while a server works. On a
// terminal it is one line that stays the last, and moves down when something is
// logged; elsewhere every change is a line of its own.
type gauge struct {
	w, log     io.Writer // where it is shown, and where the log goes; a terminal may be both
	enabled    bool      // otherwise it shows nothing, and only lets the log through
	asJSON     bool
	inPlace    bool
	mu         sync.Mutex // guards the terminal and line
	line       string
	quit, done chan struct{} // nil until it watches; done is closed when the goroutine has ended
}

// noWrapFormat prints a line that a narrow terminal cuts off: one that it wrapped
// could not be taken back with \r.
const noWrapFormat = "\x1b[?7l%s\x1b[?7h"

// newGauge makes a gauge that has nothing to show yet. JSON goes to stdout,
// where nothing else does.
func newGauge(stdout, stderr io.Writer, wanted, asJSON bool) *gauge {
	if asJSON {
		return &gauge{w: stdout, log: stderr, enabled: wanted, asJSON: true}
	}
	return &gauge{w: stderr, log: stderr, enabled: wanted, inPlace: wanted && isTerminal(stderr)}
}

// Write lets a log go through the gauge, so that it does not tear its line.
func (g *gauge) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.inPlace {
		return g.log.Write(p)
	}
	fmt.Fprintf(g.w, "\r\x1b[K%s"+noWrapFormat, p, g.line)
	return len(p), nil
}

func (g *gauge) show(line string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if line == g.line {
		return
	}
	g.line = line
	if g.inPlace {
		fmt.Fprintf(g.w, "\r\x1b[K"+noWrapFormat, line)
	} else {
		fmt.Fprintln(g.w, line)
	}
}

// watch looks at fd until stop; the error says why this system shows nothing.
func (g *gauge) watch(fd int) error {
	if !g.enabled {
		return nil
	}
	if _, err := readAcceptQueue(fd); err != nil {
		return err
	}
	before, err := readCounters()
	if err != nil {
		return err
	}
	began := time.Now()
	g.quit, g.done = make(chan struct{}), make(chan struct{})
	go func() { // stop waits for it
		defer close(g.done)
		var c counters
		for looks, last, full := 0, "", false; ; looks++ {
			q, _ := readAcceptQueue(fd)
			if looks%10 == 0 || full || q.isFull() { // the counters are dear, and only a full queue moves them
				now, _ := readCounters()
				c = now.sub(before)
			}
			full = q.isFull()
			if text := fmt.Sprintf("%v; %d ignored", q, c.Drops); text != last {
				g.show(g.text(q, c, text, time.Since(began)))
				last = text
			}
			select {
			case <-g.quit:
				return
			case <-time.After(watchInterval):
			}
		}
	}()
	return nil
}

func (g *gauge) text(q acceptQueue, c counters, text string, at time.Duration) string {
	if !g.asJSON {
		return "accept queue " + text
	}
	line, _ := json.Marshal(struct {
		MS float64 `json:"ms"` // since the start
		acceptQueue
		counters
	}{milliseconds(at), q, c})
	return string(line)
}

// stop ends the watching. It is called before the socket is closed: its number
// may soon belong to another.
func (g *gauge) stop() {
	if g.quit == nil {
		return
	}
	close(g.quit)
	<-g.done
	if g.inPlace {
		g.show("")
	}
}
