package server

// An outbound is the answers of one connection on their way out, in order. One
// write is under way at a time; what is appended meanwhile leaves with the next.
type outbound struct {
	state   output
	next    *buffer // to be sent after sending; nil for none
	sending *buffer // nil for none
	unsent  []byte  // of sending
	until   int64   // the clock when all of sending must be written; 0: nothing is
	bare    bool    // an answer that ends with the connection has begun: until it is whole, a close is a reset (cut.go)
}

func (o *outbound) empty() bool { return o.next == nil && o.sending == nil }

// full says that no further answer should be appended.
func (o *outbound) full() bool { return o.next != nil && len(o.next.b) >= outSize }

func (o *outbound) append(b []byte) {
	if o.next == nil {
		o.next = buffers.Get().(*buffer)
	}
	o.next.b = append(o.next.b, b...)
}

// begin begins a write of unsent, which must be done by until if it has just been
// filled.
func (o *outbound) begin(until int64) {
	if o.sending == nil {
		o.sending, o.next = o.next, nil
		o.unsent, o.until = o.sending.b, until
	}
	o.state.to(writing)
}

// wrote ends a write that took n bytes, and says whether all of sending is out.
func (o *outbound) wrote(n int) (all bool) {
	o.state.to(unwritten)
	if o.unsent = o.unsent[n:]; len(o.unsent) > 0 {
		return false
	}
	o.sending.free()
	o.sending, o.unsent, o.until = nil, nil, 0
	return true
}

// refused ends a write for which the kernel had no room.
func (o *outbound) refused() {
	if o.state == retrying {
		o.state.to(unwritten)
	} else {
		o.state.to(blocked)
	}
}

// hasRoom is for the event that the kernel has room again.
func (o *outbound) hasRoom() {
	switch o.state {
	case writing:
		o.state.to(retrying)
	case blocked:
		o.state.to(unwritten)
	}
}
