package main

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// A segment is the TCP segment in one IPv4 packet.
type segment struct {
	from, to uint16 // ports
	flags    byte
	payload  []byte
}

const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
)

// parseSegment parses an IPv4 packet (RFC 791 §3.1, RFC 9293 §3.1). ok is false if it
// is truncated or holds no TCP segment.
func parseSegment(ip []byte) (s segment, ok bool) {
	const tcp = 6
	if len(ip) < 20 || ip[0]>>4 != 4 || ip[9] != tcp {
		return s, false
	}
	head, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if head < 20 || total > len(ip) || total < head+20 {
		return s, false
	}
	t := ip[head:total]
	offset := int(t[12]>>4) * 4
	if offset < 20 || offset > len(t) {
		return s, false
	}
	return segment{binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:]), t[13], t[offset:]}, true
}

// String returns the flags and the first line of the payload.
func (s segment) String() string {
	var words []string
	for _, f := range []struct {
		flag byte
		name string
	}{{syn, "SYN"}, {fin, "FIN"}, {rst, "RST"}, {ack, "ACK"}} {
		if s.flags&f.flag != 0 {
			words = append(words, f.name)
		}
	}
	if len(s.payload) > 0 {
		words = append(words, fmt.Sprintf("%q..., %d bytes", firstLine(s.payload), len(s.payload)))
	}
	return strings.Join(words, ", ")
}
