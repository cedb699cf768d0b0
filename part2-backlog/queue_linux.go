package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const tcpListen = 10 // TCP_LISTEN in include/net/tcp_states.h
const tcpSynSent = 2

// readAcceptQueue reads the accept queue of the listening socket fd. For a listening
// socket, two fields of TCP_INFO have a special meaning (tcp_get_info in
// net/ipv4/tcp.c); `ss -ltn` shows the same two as Recv-Q and Send-Q.
func readAcceptQueue(fd int) (acceptQueue, error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return acceptQueue{}, fmt.Errorf("TCP_INFO of descriptor %d: %w", fd, err)
	}
	if info.State != tcpListen {
		return acceptQueue{}, fmt.Errorf("descriptor %d does not listen", fd)
	}
	return acceptQueue{Waiting: int(info.Unacked), Limit: int(info.Sacked)}, nil
}

// A synState is the progress of a handshake that connect(2) began.
type synState struct {
	known       bool // the kernel has reported the rest
	unanswered  bool // its SYN has not been answered
	retransmits int  // how often the kernel sent the SYN again; still known after the handshake
}

// readSYNState asks the kernel about the client's socket fd.
func readSYNState(fd int) synState {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return synState{}
	}
	return synState{known: true, unanswered: info.State == tcpSynSent, retransmits: int(info.Total_retrans)}
}

// readCounters reads /proc/net/netstat, which has pairs of lines: names, then numbers.
// It reads thread-self, because a thread may be in its own network namespace.
func readCounters() (c counters, err error) {
	text, err := os.ReadFile("/proc/thread-self/net/netstat")
	if err != nil {
		return c, err
	}
	lines := strings.Split(string(text), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		numbers := strings.Fields(lines[i+1])
		for j, name := range strings.Fields(lines[i]) {
			switch name {
			case "ListenOverflows":
				c.Overflows, _ = strconv.Atoi(numbers[j])
			case "ListenDrops":
				c.Drops, _ = strconv.Atoi(numbers[j])
			}
		}
	}
	return c, nil
}
