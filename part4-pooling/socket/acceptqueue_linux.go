package socket

import "golang.org/x/sys/unix"

// AcceptQueueLen is how many connections wait in the accept queue of the listening
// socket fd. For such a socket TCP_INFO has it where it has bytes that are not
// acknowledged for others: part 2 tells more.
func AcceptQueueLen(fd int) int {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return int(info.Unacked)
}
