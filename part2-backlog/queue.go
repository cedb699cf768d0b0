package main

import (
	"fmt"
	"strings"
)

// An acceptQueue is the state of a listening socket's accept queue, which holds the
// connections whose handshake is complete and that the server has not accepted yet.
// They have no descriptor, and the server does not know of them.
//
// Linux checks whether the queue holds more than the limit before it adds one, so
// limit+1 fit in (sk_acceptq_is_full in include/net/sock.h).
type acceptQueue struct {
	Waiting int `json:"waiting"`
	Limit   int `json:"limit"` // the backlog given to listen(2), or somaxconn if that is less
}

func (q acceptQueue) isFull() bool { return q.Waiting > q.Limit }

// String draws the queue with one mark for each place, or scaled to 20 marks if there
// are more places.
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
	Overflows int `json:"listen_overflows"` // handshakes that failed because the accept queue was full
	Drops     int `json:"listen_drops"`     // SYNs and last ACKs ignored, for that reason or any other
}

// sub returns how much the counters have grown since before was read.
func (c counters) sub(before counters) counters {
	return counters{c.Overflows - before.Overflows, c.Drops - before.Drops}
}
