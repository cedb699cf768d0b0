package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// watchInterval is how often the gauge reads the queue, which takes a microsecond.
// Reading the counters takes about 200, so the gauge reads them only when the queue is
// full, and every tenth time. The server's goroutine takes no part in it.
const watchInterval = 200 * time.Millisecond

// A gauge shows a listening socket's accept queue while the server runs. On a terminal
// it is always the last line, below the log; elsewhere every change is a line.
type gauge struct {
	w, log     io.Writer // for the gauge and for the log; may be the same terminal
	enabled    bool      // otherwise it only passes the log through
	asJSON     bool
	inPlace    bool       // redraw one line, on a terminal
	mu         sync.Mutex // guards the terminal and line
	line       string
	quit, done chan struct{} // nil until watch; the goroutine closes done when it ends
}

// noWrapFormat prints a line without automatic wrapping: \r could not erase a line that
// a narrow terminal has wrapped.
const noWrapFormat = "\x1b[?7l%s\x1b[?7h"

// newGauge returns a gauge that shows nothing until watch. JSON goes to stdout, all else
// to stderr.
func newGauge(stdout, stderr io.Writer, wanted, asJSON bool) *gauge {
	if asJSON {
		return &gauge{w: stdout, log: stderr, enabled: wanted, asJSON: true}
	}
	return &gauge{w: stderr, log: stderr, enabled: wanted, inPlace: wanted && isTerminal(stderr)}
}

// Write writes log lines above the gauge's line. It makes the gauge an io.Writer for the
// log.
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

// watch shows the accept queue of fd until stop. It returns an error if the system does
// not report the queue.
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
			if looks%10 == 0 || full || q.isFull() { // see watchInterval; a queue with room does not change them
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
		line := "accept queue " + text
		if len(line) > columns {
			line = strings.Replace(line, " places taken", "", 1)
		}
		return highlight(g.w, line)
	}
	line, _ := json.Marshal(struct {
		MS float64 `json:"ms"` // since the start
		acceptQueue
		counters
	}{milliseconds(at), q, c})
	return string(line)
}

// stop ends the watching. Call it before closing the socket: the kernel may reuse the
// descriptor's number for another file.
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
