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

func (o *writeQueue) empty() bool { return o.next == nil && o.sending == nil }

// full reports whether no further response should be appended: if the client does not read,
// a response waits in its slot, which has credit for it (waitingmemory.go), and not here.
func (o *writeQueue) full() bool {
	return o.writeState == writeBlocked || o.next != nil && len(o.next.b) >= writeBufferSize
}

func (o *writeQueue) enqueue(b []byte) {
	if o.next == nil {
		o.next = writeBuffers.Get().(*writeBuffer)
	}
	o.next.b = append(o.next.b, b...)
}

// startWrite begins a write of unsent. If that is empty, startWrite takes next, which must be
// written within writeTime for each socket.MaxUnsent bytes of it (notsent.go).
func (o *writeQueue) startWrite(now, writeTime int64) {
	if o.sending == nil {
		o.sending, o.next = o.next, nil
		o.unsent, o.deadline = o.sending.b, now+writeTime*writeTimes(len(o.sending.b))
	}
	o.writeState.moveTo(writing)
}

// onWritten ends a write of n bytes, and returns whether all of sending is written.
func (o *writeQueue) onWritten(n int) (all bool) {
	o.writeState.moveTo(notWriting)
	if o.unsent = o.unsent[n:]; len(o.unsent) > 0 {
		return false
	}
	o.sending.release()
	o.sending, o.unsent, o.deadline = nil, nil, 0
	return true
}

// onBlocked ends a write that returned EAGAIN.
func (o *writeQueue) onBlocked() {
	if o.writeState == writeRetry {
		o.writeState.moveTo(notWriting)
	} else {
		o.writeState.moveTo(writeBlocked)
	}
}

// onWritable handles the event that the send buffer has room.
func (o *writeQueue) onWritable() {
	switch o.writeState {
	case writing:
		o.writeState.moveTo(writeRetry)
	case writeBlocked:
		o.writeState.moveTo(notWriting)
	}
}
