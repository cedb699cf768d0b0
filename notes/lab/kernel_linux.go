package lab

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// killWithParent returns attributes that make the kernel kill a child when this program
// ends: prctl(2), PR_SET_PDEATHSIG.
func killWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// retransmits returns how often the kernel has sent the SYN of fd again.
func retransmits(fd int) int {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return int(info.Total_retrans)
}

// queueLength returns how many connections are in the accept queue of the socket that
// listens on addr, an IPv4 address, in another process. /proc/net/tcp has it as the
// length of the receive queue; listening sockets come first there. ok is false if the
// kernel does not say.
func queueLength(addr netip.AddrPort) (n int, ok bool) {
	f, err := os.Open("/proc/thread-self/net/tcp")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	ip := addr.Addr().As4()
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], addr.Port())
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 && fields[1] == local && fields[3] == "0A" { // TCP_LISTEN
			_, waiting, _ := strings.Cut(fields[4], ":")
			n, err := strconv.ParseInt(waiting, 16, 32)
			return int(n), err == nil
		}
	}
	return 0, false
}
