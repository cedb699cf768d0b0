package main

import (
	"fmt"
	"slices"
	"time"
)

// pace sends rate requests a second, one after the other on all connections in turn, for
// length, and returns how long each response took from the time at which its request was
// due: a generator that is late does not hide it.
func (g *generator) pace(rate int, length time.Duration) ([]time.Duration, error) {
	var fds []int
	for fd := range g.conns {
		fds = append(fds, fd)
	}
	slices.Sort(fds)
	due := make(map[int][]time.Time, len(fds)) // of the unanswered requests of each connection
	part := make(map[int]int, len(fds))        // bytes of a response that has not arrived whole
	var took []time.Duration
	buf := make([]byte, 64<<10)
	begin, total := time.Now(), int(length.Seconds()*float64(rate))
	for sent := 0; len(took) < total; {
		for at := begin.Add(time.Duration(sent) * time.Second / time.Duration(rate)); sent < total && !time.Now().Before(at); {
			fd := fds[sent%len(fds)]
			due[fd] = append(due[fd], at)
			rawWrite(fd, g.batch)
			sent++
			at = begin.Add(time.Duration(sent) * time.Second / time.Duration(rate))
		}
		if time.Since(begin) > length+10*time.Second {
			return nil, fmt.Errorf("%d of %d responses after %v", len(took), total, time.Since(begin))
		}
		for _, e := range g.poll.wait(0) {
			fd := int(e.Fd)
			n, errno := rawRead(fd, buf)
			if n == 0 {
				return nil, fmt.Errorf("the server closed: %v", errno)
			}
			now := time.Now()
			for part[fd] += n; part[fd] >= len(g.answer) && len(due[fd]) > 0; part[fd] -= len(g.answer) {
				took = append(took, now.Sub(due[fd][0]))
				due[fd] = due[fd][1:]
			}
		}
	}
	slices.Sort(took)
	return took, nil
}
