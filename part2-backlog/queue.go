package main

import (
	"fmt"
	"strings"
)

// An acceptQueue is what the kernel tells of a listening socket's accept queue: the
// connections that are complete, and that the server has not accepted yet. They
// have no descriptor, and the server has never heard of them.
//
// Linux asks "is there more in it than the limit?" before it takes one more, so
// limit+1 fit in (sk_acceptq_is_full in include/net/sock.h).
type acceptQueue struct {
	Waiting int `json:"waiting"`
	Limit   int `json:"limit"` // the backlog given to listen(2), or somaxconn if that is less
}

func (q acceptQueue) isFull() bool { return q.Waiting > q.Limit }

// String draws the queue: one mark for each place, at most 20.
func (q acceptQueue) String() string {
	places := q.Limit + 1
	width := min(places, 20)
	marks := (q.Waiting*width + places - 1) / places
	text := fmt.Sprintf("[%s%s] %d of %d places taken", strings.Repeat("#", min(marks, width)), strings.Repeat(".", max(0, width-marks)), q.Waiting, places)
	if q.isFull() {
		text += ", FULL"
	}
	return text
}

// counters are the kernel's totals since boot, for all sockets of the network
// namespace.
type counters struct {
	Overflows int `json:"listen_overflows"` // handshakes that a full accept queue did not let in
	Drops     int `json:"listen_drops"`     // SYNs and last ACKs ignored, for that reason or another
}

// sub is what has been counted after before was read.
func (c counters) sub(before counters) counters {
	return counters{c.Overflows - before.Overflows, c.Drops - before.Drops}
}
