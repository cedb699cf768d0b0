package main

import "golang.org/x/sys/unix"

// A rig is a listener that nobody accepts from, and its clients.
type rig struct {
	fd      int
	addr    string
	clients []int
}

func newRig(addr string, backlog int) (*rig, error) {
	fd, err := listen(addr, backlog)
	if err != nil {
		return nil, err
	}
	return &rig{fd: fd, addr: localAddr(fd).String()}, nil
}

func (r *rig) close() {
	for _, c := range r.clients {
		unix.Close(c)
	}
	unix.Close(r.fd)
}

// come starts one more client and says whether its SYN was answered. On the
// loopback the answer is there, or will never be, when connect(2) returns.
func (r *rig) come() (in bool, err error) {
	c, err := beginConnect(r.addr)
	if err != nil {
		return false, err
	}
	r.clients = append(r.clients, c)
	return !handshakeOf(c).waiting, nil
}

// fill starts clients, one after the other, until one is ignored; it says how
// many were not. It gives up at most.
func (r *rig) fill(most int) (in int, err error) {
	for in < most {
		ok, err := r.come()
		if err != nil || !ok {
			return in, err
		}
		in++
	}
	return in, nil
}
