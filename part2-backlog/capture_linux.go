package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A capture copies every IPv4 packet of this network namespace, as tcpdump does. See
// packet(7).
type capture struct {
	fd      int
	stop    atomic.Bool
	done    chan struct{} // closed when packets is complete
	packets []packet
	err     error
}

// startCapture starts a capture. The caller must call finish, which closes the socket.
func startCapture() (*capture, error) {
	// With ETH_P_ALL each loopback packet would appear twice, outgoing and incoming;
	// ETH_P_IP receives only incoming packets. SOCK_DGRAM omits the Ethernet header,
	// which on the loopback holds only zeros.
	const ipInNetworkOrder = unix.ETH_P_IP<<8&0xff00 | unix.ETH_P_IP>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, ipInNetworkOrder)
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("capturing packets requires root or a network namespace of your own: %w", errNoNetns)
	} else if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<20)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &pollTimeval)
	c := &capture{fd: fd, done: make(chan struct{})}
	go c.read() // finish waits for it
	return c, nil
}

// finish ends the capture and returns the packets in order of arrival. Timestamps can
// contradict that order by a few microseconds, because the kernel takes them at
// different points for a packet and its reply; finish raises such a timestamp to that
// of the packet before.
func (c *capture) finish() ([]packet, error) {
	c.stop.Store(true)
	<-c.done
	unix.Close(c.fd)
	for i := 1; i < len(c.packets); i++ {
		if before := c.packets[i-1].at; c.packets[i].at.Before(before) {
			c.packets[i].at = before
		}
	}
	return c.packets, c.err
}

func (c *capture) read() {
	defer close(c.done)
	buf, oob := make([]byte, 1<<16), make([]byte, 128)
	for {
		n, oobn, _, _, err := unix.Recvmsg(c.fd, buf, oob, 0)
		switch {
		case err == nil:
			c.packets = append(c.packets, packet{packetTime(oob[:oobn]), append([]byte(nil), buf[:n]...)})
		case !isRetryable(err):
			c.err = err
			return
		case err == unix.EAGAIN && c.stop.Load(): // pollInterval has passed without a packet
			return
		}
	}
}

// packetTime returns the kernel's timestamp of a packet, from its control message.
func packetTime(oob []byte) time.Time {
	messages, _ := unix.ParseSocketControlMessage(oob)
	for _, m := range messages {
		if m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			t := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return time.Unix(t.Unix())
		}
	}
	return time.Now()
}
