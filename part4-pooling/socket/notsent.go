package socket

import "golang.org/x/sys/unix"

// MaxUnsent is the largest number of bytes of a connection that the kernel holds and has
// not sent. By default the kernel reports room when a third of the send buffer is free,
// and that buffer grows to 4 MB. A peer that reads 40 kB/s needs half a minute to free a
// third, and until then it looks like a peer that does not read.
const MaxUnsent = 64 << 10

// LimitUnsent limits the unsent bytes of fd to MaxUnsent (TCP_NOTSENT_LOWAT, tcp(7)). The
// kernel then reports room when less than half of MaxUnsent is unsent, however large the
// send buffer is. Bytes in flight do not count, so a fast peer is as fast as before.
// Accepted sockets inherit the limit of their listener. A kernel without the option
// reports room late, as by default.
func LimitUnsent(fd int) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, MaxUnsent)
}
