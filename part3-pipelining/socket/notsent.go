package socket

import "golang.org/x/sys/unix"

// MaxUnsent is how many bytes of a connection the kernel holds, at most, that it has not
// sent yet. Left to itself it says that there is room for more when a third of the send
// buffer is free, and that buffer grows to 4 MB. A peer that reads 40 kB/s frees a third in
// half a minute: whoever waits for that cannot tell it from one that does not read.
const MaxUnsent = 64 << 10

// LimitUnsent sets that limit (TCP_NOTSENT_LOWAT). The kernel then says that it has room
// when less than half of MaxUnsent is left, however large its buffer is. What is on its
// way to the peer does not count: a fast one is as fast as before. Accepted sockets inherit
// the limit of their listener. A kernel without it reports room late, as it did.
func LimitUnsent(fd int) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, MaxUnsent)
}
