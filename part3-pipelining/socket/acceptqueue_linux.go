package socket

import "golang.org/x/sys/unix"

// AcceptQueueLen returns how many connections wait in the accept queue of the
// listening socket fd, or 0 if the kernel does not say. For a listening socket,
// TCP_INFO holds that number in tcpi_unacked (tcp_get_info in net/ipv4/tcp.c); part 2
// measures it.
func AcceptQueueLen(fd int) int {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return int(info.Unacked)
}
