package main

import "golang.org/x/sys/unix"

// An unacceptedListener is a listening socket whose connections are never accepted,
// and its clients. It owns all their descriptors.
type unacceptedListener struct {
	fd      int
	addr    string
	clients []int
}

func listenUnaccepted(addr string, backlog int) (*unacceptedListener, error) {
	fd, err := listen(addr, backlog)
	if err != nil {
		return nil, err
	}
	return &unacceptedListener{fd: fd, addr: localAddr(fd).String()}, nil
}

func (r *unacceptedListener) close() {
	for _, c := range r.clients {
		unix.Close(c)
	}
	unix.Close(r.fd)
}

// connectOne starts one more client and reports whether its SYN was answered. On the
// loopback the SYN-ACK has arrived when connect(2) returns, or the kernel has ignored
// the SYN.
func (r *unacceptedListener) connectOne() (in bool, err error) {
	c, err := startConnect(r.addr)
	if err != nil {
		return false, err
	}
	r.clients = append(r.clients, c)
	return !readSYNState(c).unanswered, nil
}

// fillQueue starts clients, one after another, until the kernel ignores one, and
// returns how many it let in. It stops at most clients.
func (r *unacceptedListener) fillQueue(most int) (in int, err error) {
	for in < most {
		ok, err := r.connectOne()
		if err != nil || !ok {
			return in, err
		}
		in++
	}
	return in, nil
}
