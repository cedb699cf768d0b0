package server

import "golang.org/x/sys/unix"

// WriteTime promises that a client is not cut off as long as it takes 64 KiB in that
// time. The server does not see what a client takes: it sees when the kernel has room
// for more. Left to itself the kernel says so when a third of the send buffer is free,
// and that buffer grows to 4 MB. A client that reads 40 kB/s frees a third in half a
// minute: it read all the time, and was cut off after 20 s. Hence the law:
//
//	the kernel holds at most maxUnsent bytes of a connection that it has not sent
//	a write of n bytes has WriteTime for each maxUnsent of them, or part of that
//
// With TCP_NOTSENT_LOWAT the kernel says that it has room when less than half of
// maxUnsent is left, however large its buffer is: a write that gets nowhere means
// a client that takes nothing. What is on its way to the client does not count, so a
// fast one is as fast as before. The other side's kernel can be late too: one that has
// let a full receive buffer fill up offers room when a sixteenth of it is free.
const maxUnsent = 64 << 10 // bytes

// limitUnsent is for a listening socket: accepted ones inherit it. A kernel that does
// not know the option reports room late, and cuts off slow clients.
func limitUnsent(fd int) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
}

// writeTimes is how often a write of n bytes has WriteTime.
func writeTimes(n int) int64 { return int64((n + maxUnsent - 1) / maxUnsent) }
