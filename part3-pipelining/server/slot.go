package server

// A slotQueue keeps the responses of one connection in the order of its requests,
// though the handlers start and end in any order. It is a queue of slots, and
// this is its script:
//
//	the reader   reads a request and reserves a slot, before the handler starts
//	the handler  works as long as it likes, beside the others
//	the handler  finishes its slot: here are the bytes
//	the line     lets out what is finished at its head, and nothing behind it
//
// Three mistakes are possible, and each has been made (bugs/):
//
//  1. The slot is reserved when the handler starts. Then the queue is in the
//     order of the scheduler, not of the requests (MESOS-3705).
//  2. The slot is left when the first byte is out. Then the next response lands
//     in the middle of this one.
//  3. A slot is never finished, because its handler panicked or hangs. Then
//     nobody behind it is ever answered.
//
// A slotQueue has no lock of its own: that of its connection guards it.
type slotQueue struct {
	head, tail *slot
	length     int
}

// A slot is a place in a slot queue.
type slot struct {
	next     *slot
	done     bool
	encoded  []byte // what to send, or the rest of it, once done
	exchange *exchange
}

// reserve puts s at the end of the queue.
func (l *slotQueue) reserve(s *slot) {
	s.next, s.done, s.encoded = nil, false, nil
	if l.tail == nil {
		l.head = s
	} else {
		l.tail.next = s
	}
	l.tail = s
	l.length++
}

// complete gives s its bytes. They leave when s is at the head.
func (l *slotQueue) complete(s *slot, answer []byte) {
	if s.done {
		panic("slot finished twice")
	}
	s.done, s.encoded = true, answer
}

// popReady takes the slot at the head out of the queue, if it is done.
func (l *slotQueue) popReady() *slot {
	s := l.head
	if s == nil || !s.done {
		return nil
	}
	l.head = s.next
	if l.head == nil {
		l.tail = nil
	}
	l.length--
	return s
}
