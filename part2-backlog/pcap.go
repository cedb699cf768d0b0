package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"time"
)

// A packet is an IP packet, and the time at which the kernel received it.
type packet struct {
	at   time.Time
	data []byte // from the IP header on
}

// writePcap writes packets as a file for Wireshark, tshark and tcpdump: a header of 24
// bytes, then each packet after a header of 16 bytes (pcap-savefile(5), the variant
// with nanoseconds).
func writePcap(w io.Writer, packets []packet) error {
	const nanoseconds, linktypeRaw, snaplen = 0xa1b23c4d, 101, 1 << 18
	out := bufio.NewWriter(w)
	number := func(n uint32) { binary.Write(out, binary.LittleEndian, n) } // out keeps an error, and Flush returns it
	number(nanoseconds)
	number(4<<16 | 2) // version 2.4
	number(0)
	number(0)
	number(snaplen)
	number(linktypeRaw) // no Ethernet: the data begins with the IP header
	for _, p := range packets {
		number(uint32(p.at.Unix()))
		number(uint32(p.at.Nanosecond()))
		number(uint32(len(p.data)))
		number(uint32(len(p.data)))
		out.Write(p.data)
	}
	return out.Flush()
}
