package socket

import "golang.org/x/sys/unix"

// MaxUnsent is the most bytes of a connection that the kernel holds and has not sent. By
// default the kernel reports a socket writable when a third of its send buffer is free, and
// that buffer grows to 4 MB. A peer that reads 40 kB/s needs half a minute to free a third;
// until then a writer cannot tell it from a peer that does not read.
const MaxUnsent = 64 << 10

// LimitUnsent sets that limit for the socket fd (TCP_NOTSENT_LOWAT, tcp(7)). The kernel then
// reports fd writable when it holds less than half of MaxUnsent unsent, however large the
// send buffer is. Bytes on their way to the peer do not count, so a fast peer is served as
// fast as before. Accepted sockets inherit the limit of their listener. A kernel that does
// not know the option ignores it.
func LimitUnsent(fd int) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, MaxUnsent)
}
