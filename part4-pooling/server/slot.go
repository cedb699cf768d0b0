package server

// A slotQueue keeps the responses of one connection in the order of its requests,
// although the handlers start and end in any order. The script:
//
//	the reader   reads a request and reserves a slot, before the handler starts
//	the handler  runs as long as it likes, in parallel with others
//	the handler  completes its slot: the slot holds the encoded response
//	the queue    releases completed slots at its head, and none after an incomplete one
//
// Three mistakes are common. Part 3 has each as a planted bug (bugs/):
//
//  1. The slot is reserved when the handler starts. Then the queue is in the
//     order of the scheduler, not of the requests (MESOS-3705).
//  2. The slot is released when its first byte is sent. Then the next response
//     lands in the middle of this one.
//  3. The slot is never completed, because its handler panicked or hangs. Then no
//     later request of the connection is ever answered.
//
// A slotQueue has no lock of its own: its connection's lock guards it.
type slotQueue struct {
	head, tail *slot
	length     int
}

// A slot is the place of one response in a slotQueue.
type slot struct {
	next     *slot
	done     bool
	encoded  []byte // once done: the bytes to send, or those that were not streamed
	exchange *exchange
}

// reserve puts s at the end of the queue.
func (q *slotQueue) reserve(s *slot) {
	s.next, s.done, s.encoded = nil, false, nil
	if q.tail == nil {
		q.head = s
	} else {
		q.tail.next = s
	}
	q.tail = s
	q.length++
}

// complete stores the response of s. It can be popped when s is at the head.
func (q *slotQueue) complete(s *slot, response []byte) {
	if s.done {
		panic("slot completed twice")
	}
	s.done, s.encoded = true, response
}

// popReady removes and returns the slot at the head if it is done, and returns nil if not.
func (q *slotQueue) popReady() *slot {
	s := q.head
	if s == nil || !s.done {
		return nil
	}
	q.head = s.next
	if q.head == nil {
		q.tail = nil
	}
	q.length--
	return s
}
