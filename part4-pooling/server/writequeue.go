package server

// A writeQueue holds the encoded responses of one connection, in order, until the kernel
// has accepted them. One write is in progress at a time; bytes that are queued
// meanwhile are sent by the next.
type writeQueue struct {
	writeState     writeState
	next           *writeBuffer // sent after sending; nil for none
	sending        *writeBuffer // nil for none
	unsent         []byte       // the rest of sending
	deadline       int64        // the clock when all of sending must be written; 0 if sending is nil
	closeDelimited bool         // a close-delimited response has begun: until it is complete, a close is a reset (closedelimited.go)
}

func (q *writeQueue) empty() bool { return q.next == nil && q.sending == nil }

// full reports whether no further response should be appended: if the client does not read,
// a response waits in its slot, which has credit for it (waitingmemory.go), and not here.
func (q *writeQueue) full() bool {
	return q.writeState == writeBlocked || q.next != nil && len(q.next.b) >= writeBufferSize
}

func (q *writeQueue) enqueue(b []byte) {
	if q.next == nil {
		q.next = writeBuffers.Get().(*writeBuffer)
	}
	q.next.b = append(q.next.b, b...)
}

// startWrite begins a write of unsent. If that is empty, startWrite takes next, which must be
// written within writeTime for each socket.MaxUnsent bytes of it (notsent.go).
func (q *writeQueue) startWrite(now, writeTime int64) {
	if q.sending == nil {
		q.sending, q.next = q.next, nil
		q.unsent, q.deadline = q.sending.b, now+writeTime*writeTimes(len(q.sending.b))
	}
	q.writeState.moveTo(writing)
}

// onWritten ends a write of n bytes, and returns whether all of sending is written.
func (q *writeQueue) onWritten(n int) (all bool) {
	q.writeState.moveTo(notWriting)
	if q.unsent = q.unsent[n:]; len(q.unsent) > 0 {
		return false
	}
	q.sending.release()
	q.sending, q.unsent, q.deadline = nil, nil, 0
	return true
}

// onBlocked ends a write that returned EAGAIN.
func (q *writeQueue) onBlocked() {
	if q.writeState == writeRetry {
		q.writeState.moveTo(notWriting)
	} else {
		q.writeState.moveTo(writeBlocked)
	}
}

// onWritable handles the event that the send buffer has room.
func (q *writeQueue) onWritable() {
	switch q.writeState {
	case writing:
		q.writeState.moveTo(writeRetry)
	case writeBlocked:
		q.writeState.moveTo(notWriting)
	}
}
