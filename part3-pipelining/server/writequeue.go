package server

// A writeQueue is the responses of one connection on their way out, in order. One
// write is under way at a time; what is appended meanwhile leaves with the next.
type writeQueue struct {
	writeState     writeState
	next           *writeBuffer // to be sent after sending; nil for none
	sending        *writeBuffer // nil for none
	unsent         []byte       // of sending
	deadline       int64        // the clock when all of sending must be written; 0: nothing is
	closeDelimited bool         // a response that ends with the connection has begun: until it is whole, a close is a reset (closedelimited.go)
}

func (o *writeQueue) empty() bool { return o.next == nil && o.sending == nil }

// full says that no further response should be appended.
func (o *writeQueue) full() bool { return o.next != nil && len(o.next.b) >= writeBufferSize }

func (o *writeQueue) enqueue(b []byte) {
	if o.next == nil {
		o.next = writeBuffers.Get().(*writeBuffer)
	}
	o.next.b = append(o.next.b, b...)
}

// startWrite begins a write of unsent. If it has just been filled, all of it must be written
// in writeTime, or as often that as it is long (notsent.go).
func (o *writeQueue) startWrite(now, writeTime int64) {
	if o.sending == nil {
		o.sending, o.next = o.next, nil
		o.unsent, o.deadline = o.sending.b, now+writeTime*writeTimes(len(o.sending.b))
	}
	o.writeState.moveTo(writing)
}

// onWritten ends a write that took n bytes, and says whether all of sending is out.
func (o *writeQueue) onWritten(n int) (all bool) {
	o.writeState.moveTo(notWriting)
	if o.unsent = o.unsent[n:]; len(o.unsent) > 0 {
		return false
	}
	o.sending.release()
	o.sending, o.unsent, o.deadline = nil, nil, 0
	return true
}

// onBlocked ends a write for which the kernel had no room.
func (o *writeQueue) onBlocked() {
	if o.writeState == writeRetry {
		o.writeState.moveTo(notWriting)
	} else {
		o.writeState.moveTo(writeBlocked)
	}
}

// onWritable is for the event that the kernel has room again.
func (o *writeQueue) onWritable() {
	switch o.writeState {
	case writing:
		o.writeState.moveTo(writeRetry)
	case writeBlocked:
		o.writeState.moveTo(notWriting)
	}
}
